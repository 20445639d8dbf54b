#include "genomics_io/hts_handles.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <cerrno>
#include <system_error>
#include <unistd.h>

#include <htslib/hts_log.h>

namespace mambase::io {

namespace {

void silence_htslib() {
    static const bool once = [] {
        hts_set_log_level(HTS_LOG_OFF);
        return true;
    }();
    static_cast<void>(once);
}

/// On a descriptor of its own, which HTSlib closes.
HFileHandle handle_on(int of, const std::string& path, const char* mode) {
    silence_htslib();
    const int fd = ::dup(of);
    hFILE* const handle = fd < 0 ? nullptr : hdopen(fd, mode);
    if (handle == nullptr) {
        const int number = errno;
        if (fd >= 0) {
            ::close(fd);
        }
        throw Error(ErrorCode::io, concat(*mode == 'r' ? "cannot read: " : "cannot write: ",
                                          std::generic_category().message(number)))
            .at(path);
    }
    return HFileHandle(handle);
}

}  // namespace

HFileHandle open_for_htslib(const std::string& path) {
    // Opened by us for the sake of the message.
    const File file = path == "-" ? File() : File::open_read(path);
    return handle_on(path == "-" ? STDIN_FILENO : file.fd(), path, "r");
}

BgzfHandle create_bgzf(const File& file) {
    HFileHandle handle = handle_on(file.fd(), file.path(), "w");
    BGZF* const bgzf = bgzf_hopen(handle.get(), "w");
    if (bgzf == nullptr) {
        throw Error(ErrorCode::io, "cannot write bgzip").at(file.path());
    }
    static_cast<void>(handle.release());  // the stream's now
    return BgzfHandle(bgzf);
}

}  // namespace mambase::io
