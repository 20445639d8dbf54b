// How a file is compressed, judged by its content and never by its name.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace mambase::io {

enum class Compression { none, gzip, bgzip };

/// The bytes of a gzip header that tell bgzip from gzip.
inline constexpr std::size_t kCompressionMagic = 18;

/// By the first bytes of a file. Fewer than kCompressionMagic bytes are read as the whole file; a
/// gzip header that is cut short is gzip.
Compression compression_of(std::span<const std::uint8_t> first_bytes);

/// Opens and looks. Regular files only, since looking into a pipe takes its bytes away:
/// Error{usage} for "-" and for pipes; not_found and io as they come.
Compression sniff_compression(const std::string& path);

}  // namespace mambase::io
