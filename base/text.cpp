#include "base/text.hpp"

#include "base/error.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <system_error>

namespace mambase {

namespace {

/// `space`: enough for the longest.
template <std::size_t Size, class Number, class... Format>
std::string_view to_text(std::array<char, Size>& space, Number value, Format... format) {
    const auto result = std::to_chars(space.data(), space.data() + space.size(), value, format...);
    MAMBASE_ASSERT(result.ec == std::errc());
    return {space.data(), static_cast<std::size_t>(result.ptr - space.data())};
}

std::string scaled(double value, double base, const std::array<std::string_view, 5>& units) {
    std::size_t unit = 0;
    while (std::abs(value) >= base && unit + 1 < units.size()) {
        value /= base;
        ++unit;
    }
    return concat(format_fixed(value, unit == 0 ? 0 : 1), ' ', units[unit]);
}

}  // namespace

void append(std::string& out, std::string_view text) {
    out.append(text);
}

void append(std::string& out, std::int64_t value) {
    std::array<char, 24> space{};
    out.append(to_text(space, value));
}

void append(std::string& out, std::uint64_t value) {
    std::array<char, 24> space{};
    out.append(to_text(space, value));
}

void append(std::string& out, double value) {
    std::array<char, 32> space{};
    out.append(to_text(space, value));
}

std::string format_fixed(double value, int digits) {
    std::array<char, 512> space{};
    return std::string(to_text(space, value, std::chars_format::fixed, digits));
}

std::string format_count(std::int64_t value) {
    std::string digits = concat(value);
    const std::size_t first = value < 0 ? 1 : 0;
    for (std::size_t at = digits.size(); at > first + 3;) {
        at -= 3;
        digits.insert(at, 1, ',');
    }
    return digits;
}

std::string format_bytes(std::int64_t bytes) {
    return scaled(static_cast<double>(bytes), 1024.0, {"B", "KB", "MB", "GB", "TB"});
}

std::string format_bases(double bases) {
    return scaled(bases, 1000.0, {"b", "kb", "Mb", "Gb", "Tb"});
}

std::string format_duration(double seconds) {
    if (seconds < 60.0) {
        return concat(format_fixed(seconds, 1), "s");
    }
    const auto whole = static_cast<std::int64_t>(std::llround(seconds));
    const auto two = [](std::int64_t n) { return concat(n < 10 ? "0" : "", n); };
    if (whole < 3600) {
        return concat(whole / 60, "m", two(whole % 60), "s");
    }
    return concat(whole / 3600, "h", two(whole / 60 % 60), "m");
}

std::int64_t parse_size(std::string_view text, SizeUnits units) {
    const auto bad = [&]() -> Error {
        return {
            ErrorCode::usage,
            concat("'", text,
                   "' is not a size: a whole number with an optional K, M, G or T is expected")};
    };
    std::string_view digits = text;
    double factor = 1.0;
    if (!digits.empty()) {
        const double kilo = units == SizeUnits::decimal ? 1000.0 : 1024.0;
        const std::string_view suffixes = "kmgt";
        const char last = digits.back();
        const std::size_t at =
            suffixes.find(static_cast<char>(last >= 'A' && last <= 'Z' ? last - 'A' + 'a' : last));
        if (at != std::string_view::npos) {
            factor = std::pow(kilo, static_cast<double>(at + 1));
            digits.remove_suffix(1);
        }
    }
    if (digits.empty() || digits.front() < '0' || digits.front() > '9') {
        throw bad();
    }
    const char* const end = digits.data() + digits.size();
    std::int64_t whole = 0;
    const auto plain = std::from_chars(digits.data(), end, whole);
    if (plain.ec == std::errc() && plain.ptr == end) {
        std::int64_t out = 0;
        if (__builtin_mul_overflow(whole, static_cast<std::int64_t>(factor), &out)) {
            throw bad();
        }
        return out;
    }
    double value = 0.0;
    const auto result = std::from_chars(digits.data(), end, value, std::chars_format::fixed);
    const double out = value * factor;
    if (result.ec != std::errc() || result.ptr != end || out != std::floor(out) || out > 9.0e18) {
        throw bad();
    }
    return static_cast<std::int64_t>(out);
}

std::vector<std::string_view> split(std::string_view text, char separator) {
    std::vector<std::string_view> parts;
    for (;;) {
        const std::size_t at = text.find(separator);
        parts.push_back(text.substr(0, at));
        if (at == std::string_view::npos) {
            return parts;
        }
        text.remove_prefix(at + 1);
    }
}

}  // namespace mambase
