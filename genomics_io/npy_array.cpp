#include "genomics_io/npy_array.hpp"

#include "base/checked_math.hpp"
#include "base/error.hpp"
#include "base/text.hpp"
#include "genomics_io/half.hpp"

#include <array>
#include <charconv>
#include <cstddef>
#include <cstring>
#include <string_view>
#include <system_error>
#include <utility>

namespace mambase::io {

namespace {

constexpr std::string_view kMagic = "\x93NUMPY";

[[noreturn]] void fail(const std::string& path, std::string message) {
    throw Error(ErrorCode::format, std::move(message)).at(path);
}

/// What follows `key` in the header, a Python dictionary: up to the closing quote, word or bracket.
std::string_view value_of(std::string_view header, std::string_view key) {
    const std::size_t at = header.find(concat("'", key, "':"));
    if (at == std::string_view::npos) {
        return {};
    }
    header.remove_prefix(at + key.size() + 3);
    header.remove_prefix(std::min(header.find_first_not_of(' '), header.size()));
    const std::string_view ends = header.starts_with('(') ? ")" : ",}";
    return header.substr(0, header.find_first_of(ends));
}

/// "(10, 128": both numbers.
bool parse_shape(std::string_view text, std::int64_t& rows, std::int64_t& dim) {
    const std::size_t comma = text.find(',');
    if (!text.starts_with('(') || comma == std::string_view::npos) {
        return false;
    }
    const auto parse = [](std::string_view part, std::int64_t& out) {
        part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
        const auto [end, failure] = std::from_chars(part.data(), part.data() + part.size(), out);
        return failure == std::errc() && end == part.data() + part.size() && out >= 0;
    };
    return parse(text.substr(1, comma - 1), rows) && parse(text.substr(comma + 1), dim);
}

std::string_view text_of(const MappedFile& file) {
    return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

}  // namespace

bool is_npy(const std::string& path) {
    const File file = File::open_read(path);
    std::array<std::byte, 6> first{};
    if (file.size() < static_cast<std::int64_t>(first.size())) {
        return false;
    }
    file.read_at(first, 0);
    return std::memcmp(first.data(), kMagic.data(), kMagic.size()) == 0;
}

NpyArray::NpyArray(const std::string& path) : file_(path) {
    const std::string_view text = text_of(file_);
    if (text.size() < 12 || !text.starts_with(kMagic)) {
        fail(path, "not a .npy file");
    }
    const auto byte = [&](std::size_t i) {
        return std::size_t{static_cast<unsigned char>(text[i])};
    };
    const bool short_length = byte(6) == 1;  // version 1.0: two bytes, later four
    const std::size_t length =
        byte(8) + (byte(9) << 8U) + (short_length ? 0 : (byte(10) << 16U) + (byte(11) << 24U));
    const std::size_t begin = short_length ? 10 : 12;
    const std::string_view header = text.substr(begin, length);
    const std::string_view type = value_of(header, "descr");
    if (type != "'<f2'" && type != "'<f4'") {
        fail(path, concat("an array of ", type, "; expected '<f2' or '<f4', as embed writes"));
    }
    type_ = type == "'<f2'" ? RowType::f16 : RowType::f32;
    if (value_of(header, "fortran_order") != "False" ||
        !parse_shape(value_of(header, "shape"), rows_, dim_)) {
        fail(path, "not a matrix in C order");
    }
    offset_ = static_cast<std::int64_t>(begin + length);
    const std::int64_t item = type_ == RowType::f16 ? 2 : 4;
    const std::int64_t size = checked_add(offset_, checked_mul(checked_mul(rows_, dim_), item));
    if (std::ssize(text) != size) {
        fail(path, concat(text.size(), " bytes, but ", size, " by its header"));
    }
}

void NpyArray::read_row(std::int64_t row, std::span<float> out) const {
    MAMBASE_ASSERT(row >= 0 && row < rows_ && std::ssize(out) == dim_);
    const std::byte* const from = file_.bytes().data() + offset_;
    if (type_ == RowType::f32) {
        std::memcpy(out.data(), from + row * dim_ * 4, out.size_bytes());
        return;
    }
    for (std::int64_t i = 0; i < dim_; ++i) {
        std::uint16_t half = 0;
        std::memcpy(&half, from + (row * dim_ + i) * 2, sizeof half);
        out[static_cast<std::size_t>(i)] = from_half(half);
    }
}

}  // namespace mambase::io
