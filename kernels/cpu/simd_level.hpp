// Which instruction set the CPU backend uses; chosen once, when the op table is asked for.
#pragma once

#include <cstdint>
#include <string_view>

namespace mambase::cpu {

enum class SimdLevel : std::uint8_t { scalar, avx2, avx512 };

std::string_view name(SimdLevel level);

/// Whether this processor and operating system can run it.
bool is_supported(SimdLevel level);

/// The best supported level, or the one that MAMBASE_SIMD=scalar|avx2|avx512 names.
/// Throws Error{usage} for another word, Error{unsupported} for a level that this processor lacks.
SimdLevel choose_simd_level();

}  // namespace mambase::cpu
