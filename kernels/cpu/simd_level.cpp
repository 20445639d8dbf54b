#include "kernels/cpu/simd_level.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <cstdlib>

namespace mambase::cpu {

std::string_view name(SimdLevel level) {
    switch (level) {
        case SimdLevel::scalar:
            return "scalar";
        case SimdLevel::avx2:
            return "avx2";
        case SimdLevel::avx512:
            return "avx512";
    }
    return "unknown";
}

bool is_supported(SimdLevel level) {
#if defined(__x86_64__)
    switch (level) {
        case SimdLevel::scalar:
            return true;
        case SimdLevel::avx2:
            return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
        case SimdLevel::avx512:
            return __builtin_cpu_supports("avx512f") != 0 &&
                   __builtin_cpu_supports("avx512dq") != 0 &&
                   __builtin_cpu_supports("avx512bw") != 0 &&
                   __builtin_cpu_supports("avx512vl") != 0;
    }
    return false;
#else
    return level == SimdLevel::scalar;
#endif
}

SimdLevel choose_simd_level() {
    const char* const asked = std::getenv("MAMBASE_SIMD");
    for (const SimdLevel level : {SimdLevel::avx512, SimdLevel::avx2, SimdLevel::scalar}) {
        if (asked == nullptr || *asked == '\0') {
            if (is_supported(level)) {
                return level;
            }
        } else if (asked == name(level)) {
            MAMBASE_REQUIRE(is_supported(level), ErrorCode::unsupported,
                            concat("MAMBASE_SIMD=", asked, ": this processor does not have it"));
            return level;
        }
    }
    throw Error(ErrorCode::usage,
                concat("MAMBASE_SIMD=", asked, ": scalar, avx2 or avx512 is expected"));
}

}  // namespace mambase::cpu
