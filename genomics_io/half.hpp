// IEEE 754 binary16 ("f16"), which exists in output files alone.
#pragma once

#include <bit>
#include <cstdint>

namespace mambase::io {

/// Round to nearest, ties to even; subnormals are kept; overflow gives infinity, NaN a quiet NaN.
inline std::uint16_t to_half(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) {
        return static_cast<std::uint16_t>(sign | 0x7E00U);
    }
    if (magnitude >= 0x477FF000U) {  // 65520, half-way between the largest half and 65536
        return static_cast<std::uint16_t>(sign | 0x7C00U);
    }
    if (magnitude < 0x38800000U) {  // below 2^-14: a multiple of 2^-24; the addition rounds
        const float scaled = std::bit_cast<float>(magnitude) + 0.5F;
        return static_cast<std::uint16_t>(sign |
                                          (std::bit_cast<std::uint32_t>(scaled) - 0x3F000000U));
    }
    const std::uint32_t odd = (magnitude >> 13) & 1U;
    const std::uint32_t rounded = magnitude + 0xFFFU + odd;
    return static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13));
}

/// Exact; what is not finite stays so.
inline float from_half(std::uint16_t half) {
    const std::uint32_t sign = (half & 0x8000U) << 16U;
    const std::uint32_t magnitude = half & 0x7FFFU;
    if (magnitude >= 0x7C00U) {
        return std::bit_cast<float>(sign | 0x7F800000U | (magnitude & 0x3FFU) << 13U);
    }
    const float value = magnitude < 0x0400U
                            ? static_cast<float>(magnitude) * 0x1p-24F
                            : std::bit_cast<float>((magnitude << 13U) + 0x38000000U);
    return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(value));
}

inline bool is_finite_half(std::uint16_t half) {
    return (half & 0x7C00U) != 0x7C00U;
}

}  // namespace mambase::io
