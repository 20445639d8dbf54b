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

}  // namespace

HFileHandle open_for_htslib(const std::string& path) {
    silence_htslib();
    // A descriptor of its own, which HTSlib closes; opened by us for the sake of the message.
    const File file = path == "-" ? File() : File::open_read(path);
    const int fd = ::dup(path == "-" ? STDIN_FILENO : file.fd());
    hFILE* const handle = fd < 0 ? nullptr : hdopen(fd, "r");
    if (handle == nullptr) {
        const int number = errno;
        if (fd >= 0) {
            ::close(fd);
        }
        throw Error(ErrorCode::io, concat("cannot read: ", std::generic_category().message(number)))
            .at(path);
    }
    return HFileHandle(handle);
}

}  // namespace mambase::io
