// Text without locales or iostreams: joining, sizes, numbers.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace mambase {

void append(std::string& out, std::string_view text);
void append(std::string& out, std::int64_t value);
void append(std::string& out, std::uint64_t value);
/// Shortest text that reads back as the same double.
void append(std::string& out, double value);

/// Any of these, or a char, or what a string_view is made of.
template <class Part>
void append_part(std::string& out, const Part& part) {
    if constexpr (std::floating_point<Part>) {
        append(out, static_cast<double>(part));
    } else if constexpr (std::same_as<Part, char>) {
        out.push_back(part);
    } else if constexpr (std::unsigned_integral<Part>) {
        append(out, static_cast<std::uint64_t>(part));
    } else if constexpr (std::integral<Part>) {
        append(out, static_cast<std::int64_t>(part));
    } else {
        append(out, std::string_view(part));
    }
}

/// concat("row ", 7, " of ", path): text and numbers joined.
template <class... Parts>
std::string concat(const Parts&... parts) {
    std::string out;
    (append_part(out, parts), ...);
    return out;
}

/// Fixed point: format_fixed(1.8094, 3) is "1.809".
std::string format_fixed(double value, int digits);
/// 1,234,567
std::string format_count(std::int64_t value);
/// Powers of two: "1.5 GB" (of 1024^3).
std::string format_bytes(std::int64_t bytes);
/// Bases, powers of ten: "48.1 Mb", "950 b".
std::string format_bases(double bases);
/// "1h02m", "3m05s", "12.3s"
std::string format_duration(double seconds);

enum class SizeUnits { decimal, binary };  // bases: K = 1000; bytes: K = 1024
/// A whole number with an optional K, M, G or T (either case; "1.5M" too when it comes out whole).
/// Throws usage that quotes the text. Never negative.
std::int64_t parse_size(std::string_view text, SizeUnits units);

std::vector<std::string_view> split(std::string_view text, char separator);

}  // namespace mambase
