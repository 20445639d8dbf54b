#include "genomics_io/bgzip_file.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cerrno>
#include <system_error>
#include <unistd.h>

namespace mambase::io {

BgzipFile::BgzipFile(const std::string& path, int threads)
    : place_(path), file_(create_bgzf(place_.file())) {
    constexpr int blocks_a_thread = 256;
    if (threads > 1) {
        require(bgzf_mt(file_.get(), threads, blocks_a_thread) == 0);
    }
}

void BgzipFile::write(std::string_view text) {
    const ssize_t n = bgzf_write(file_.get(), text.data(), text.size());
    require(n == static_cast<ssize_t>(text.size()));
}

void BgzipFile::close() {
    require(bgzf_close(file_.release()) == 0);
}

void BgzipFile::require(bool done) {
    if (!done) {
        throw Error(ErrorCode::io, concat("cannot write: ", std::generic_category().message(errno)))
            .at(place_.path());
    }
}

}  // namespace mambase::io
