#include "genomics_io/bgzip_file.hpp"

#include "base/error.hpp"

#include <array>
#include <cstddef>

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
    if (done) {
        return;
    }
    // The reason stayed with a thread of HTSlib; a write of our own meets it too.
    const std::array<std::byte, std::size_t{1} << 16> zeros{};
    place_.file().write_at(zeros, place_.file().size());
    throw Error(ErrorCode::io, "cannot write bgzip").at(place_.path());
}

}  // namespace mambase::io
