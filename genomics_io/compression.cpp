#include "genomics_io/compression.hpp"

#include "base/error.hpp"
#include "base/file.hpp"

#include <algorithm>
#include <array>
#include <filesystem>

namespace mambase::io {

Compression compression_of(std::span<const std::uint8_t> first_bytes) {
    if (first_bytes.size() < 2 || first_bytes[0] != 0x1F || first_bytes[1] != 0x8B) {
        return Compression::none;
    }
    // An extra field (flag 4) whose first part is "BC" with two bytes (SAM format, section 4.1).
    constexpr std::array<std::uint8_t, 4> bgzip_field{'B', 'C', 2, 0};
    const bool blocks =
        first_bytes.size() >= kCompressionMagic && (first_bytes[3] & 4) != 0 &&
        std::equal(bgzip_field.begin(), bgzip_field.end(), first_bytes.begin() + 12);
    return blocks ? Compression::bgzip : Compression::gzip;
}

Compression sniff_compression(const std::string& path) {
    if (path == "-" ||
        (exists(path) && !is_directory(path) && !std::filesystem::is_regular_file(path))) {
        throw Error(ErrorCode::usage, "a pipe cannot be looked into without taking its bytes")
            .at(path);
    }
    const File file = File::open_read(path);
    std::array<std::uint8_t, kCompressionMagic> bytes{};
    const auto n = static_cast<std::size_t>(
        std::min<std::int64_t>(file.size(), static_cast<std::int64_t>(bytes.size())));
    file.read_at(std::as_writable_bytes(std::span(bytes).first(n)), 0);
    return compression_of(std::span(bytes).first(n));
}

}  // namespace mambase::io
