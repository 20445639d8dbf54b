#include "genomics_io/byte_reader.hpp"

#include "base/file.hpp"
#include "base/text.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mambase::io {

ByteReader::ByteReader(std::string path, const ReadOptions& options, bool note_blocks)
    : ByteReader(path, open_for_htslib(path), options, note_blocks) {}

ByteReader::ByteReader(std::string path,
                       HFileHandle file,
                       const ReadOptions& options,
                       bool note_blocks)
    : path_(std::move(path)), ignore_eof_(options.ignore_eof) {
    std::array<std::uint8_t, kCompressionMagic> magic{};
    const ssize_t n = hpeek(file.get(), magic.data(), magic.size());
    if (n < 0) {
        throw Error(ErrorCode::io, concat("cannot read: ", std::generic_category().message(errno)))
            .at(path_);
    }
    compression_ = compression_of(std::span(magic).first(static_cast<std::size_t>(n)));
    if (compression_ != Compression::none && static_cast<std::size_t>(n) < magic.size()) {
        throw Error(ErrorCode::format, "the compressed data end within their header (truncated?)")
            .at(path_);
    }
    handle_.reset(bgzf_hopen(file.get(), "r"));
    if (!handle_) {
        throw Error(ErrorCode::io, "cannot start to inflate").at(path_);
    }
    static_cast<void>(file.release());  // BGZF closes it from here on
    const bool blocks = compression_ == Compression::bgzip;
    if (blocks && note_blocks && bgzf_index_build_init(handle_.get()) != 0) {
        throw Error(ErrorCode::out_of_memory, "no memory for the index of blocks").at(path_);
    }
    constexpr int blocks_queued = 256;  // HTSlib's own choice in bgzip
    if (blocks && options.threads > 0 &&
        bgzf_mt(handle_.get(), options.threads + 1, blocks_queued) != 0) {
        throw Error(ErrorCode::io, "cannot start the threads that inflate").at(path_);
    }
}

Error ByteReader::located(Error error) const {
    error.at(path_);
    if (compression_ == Compression::bgzip) {
        error.offset(bgzf_tell(handle_.get()), "virtual offset");
    } else if (compression_ == Compression::gzip) {
        error.offset(htell(handle_->fp), "compressed byte");
    }
    return error;
}

void ByteReader::fail() {
    const unsigned flags = handle_->errcode;
    if (compression_ == Compression::none) {
        throw located(
            Error(ErrorCode::io, concat("cannot read: ", std::generic_category().message(errno))));
    }
    std::string_view what = "the compressed data cannot be read or end early (truncated?)";
    if ((flags & BGZF_ERR_CRC) != 0) {
        what = "the compressed data are damaged (checksum)";
    } else if ((flags & BGZF_ERR_ZLIB) != 0) {
        what = "the compressed data are damaged or end early (truncated?)";
    } else if ((flags & BGZF_ERR_HEADER) != 0) {
        what = "here a compressed block should begin, and none does (truncated or damaged?)";
    }
    throw located(Error(ErrorCode::format, std::string(what)));
}

std::size_t ByteReader::read(std::span<char> out) {
    const ssize_t n = bgzf_read(handle_.get(), out.data(), out.size());
    const bool at_end = n == 0 && !out.empty();
    if (n < 0 || (at_end && handle_->errcode != 0)) {  // to HTSlib's threads an error is an end
        fail();
    }
    if (at_end && compression_ == Compression::bgzip && !ignore_eof_ &&
        handle_->no_eof_block != 0) {
        throw located(Error(ErrorCode::format,
                            "the end marker of bgzip is missing, so the file may be truncated "
                            "(--ignore-eof accepts it)"));
    }
    position_ += n;
    return static_cast<std::size_t>(n);
}

void ByteReader::seek(std::int64_t offset, std::span<const BlockStart> blocks) {
    constexpr std::int64_t worth_reading = 1 << 16;  // cheaper to read over than to start anew
    if (offset < position_ || offset - position_ > worth_reading) {
        if (compression_ == Compression::bgzip) {
            const auto after = std::upper_bound(
                blocks.begin(), blocks.end(), offset,
                [](std::int64_t value, const BlockStart& b) { return value < b.inflated; });
            MAMBASE_ASSERT(after != blocks.begin());
            const BlockStart block = *(after - 1);
            if (bgzf_seek(handle_.get(), block.compressed << 16, SEEK_SET) != 0) {
                fail();
            }
            position_ = block.inflated;
        } else {
            MAMBASE_ASSERT(compression_ == Compression::none);
            if (bgzf_useek(handle_.get(), offset, SEEK_SET) != 0) {
                fail();
            }
            position_ = offset;
        }
    }
    std::array<char, 4096> skipped{};
    while (position_ < offset) {
        const auto n = std::min<std::int64_t>(offset - position_, skipped.size());
        if (read(std::span(skipped).first(static_cast<std::size_t>(n))) == 0) {
            return;  // past the end: the next read returns nothing
        }
    }
}

bool ByteReader::has_end_marker() {
    return compression_ != Compression::bgzip || bgzf_check_EOF(handle_.get()) != 0;
}

std::string ByteReader::block_index() {
    const File spool = File::temporary();
    const int fd = ::dup(spool.fd());
    HFileHandle out(fd < 0 ? nullptr : hdopen(fd, "w"));
    if (!out || bgzf_index_dump_hfile(handle_.get(), out.get(), path_.c_str()) != 0 ||
        hclose(out.release()) != 0) {
        throw Error(ErrorCode::io, "cannot put the index of blocks together in TMPDIR").at(path_);
    }
    std::string text(static_cast<std::size_t>(spool.size()), '\0');
    spool.read_at(std::as_writable_bytes(std::span(text.data(), text.size())), 0);
    return text;
}

std::string read_inflated(const std::string& path) {
    ByteReader reader(path, {});
    std::string text;
    std::array<char, 1 << 14> piece{};
    while (const std::size_t n = reader.read(piece)) {
        text.append(piece.data(), n);
    }
    return text;
}

}  // namespace mambase::io
