// Log-sum-exp and softmax of a row of logits in double precision: the cross-entropy of the row
// kernels. exp is our own, so that its bits do not depend on the C library of the machine.
#include "kernels/cpu/simd/row_kernels.hpp"
#include "kernels/cpu/simd/vec.hpp"

namespace mambase::cpu {
namespace {

constexpr int kDoubles = kVecWidth / 2;
using VecDoubles [[gnu::vector_size(kVecWidth * 4)]] = double;
using VecLongs [[gnu::vector_size(kVecWidth * 4)]] = std::int64_t;

constexpr std::int64_t kMaxClasses = 256;

/// a·b + c, rounded as the level's fma() of floats is.
[[gnu::always_inline]] inline VecDoubles fma(VecDoubles a, VecDoubles b, VecDoubles c) {
#if defined(__AVX512F__)
    return _mm512_fmadd_pd(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_fmadd_pd(a, b, c);
#else
    return a * b + c;
#endif
}

[[gnu::always_inline]] inline VecDoubles all(double value) {
    return value - VecDoubles{};
}

/// exp(x) for x <= 0, within 2 units in the last place; below −700, where the result is past
/// 10⁻³⁰⁴ and counts for nothing beside the 1 of the largest logit, exp(−700). NaN stays NaN.
///
/// x = n·log 2 + r, |r| <= log(2)/2; exp(r) by its Taylor polynomial of degree 13, whose rest is
/// below r¹⁴/14! = 4·10⁻¹⁸.
[[gnu::always_inline]] inline VecDoubles exp_of_negative(VecDoubles x) {
    constexpr double log2e = 1.4426950408889634;
    constexpr double log2_high = 0x1.62e42fefa3800p-1;  // 42 bits: exact when multiplied by n
    constexpr double log2_low = 0x1.ef35793c76730p-45;
    constexpr double rounding_shift =
        0x1.8p52;  // adding it rounds to a whole number, in the low bits
    constexpr double inverse_factorials[] = {1.0,
                                             1.0,
                                             1.0 / 2,
                                             1.0 / 6,
                                             1.0 / 24,
                                             1.0 / 120,
                                             1.0 / 720,
                                             1.0 / 5040,
                                             1.0 / 40320,
                                             1.0 / 362880,
                                             1.0 / 3628800,
                                             1.0 / 39916800,
                                             1.0 / 479001600,
                                             1.0 / 6227020800};
    x = x < -700.0 ? all(-700.0) : x;
    const VecDoubles shifted = x * log2e + rounding_shift;
    const VecDoubles n = shifted - rounding_shift;
    const VecDoubles r = fma(n, all(-log2_low), fma(n, all(-log2_high), x));
    VecDoubles sum = all(inverse_factorials[13]);
#pragma GCC unroll 13
    for (int degree = 12; degree >= 0; --degree) {
        sum = fma(sum, r, all(inverse_factorials[degree]));
    }
    const VecLongs exponent = reinterpret_cast<VecLongs>(shifted)
                              << 52;  // n in the exponent's place
    return reinterpret_cast<VecDoubles>(reinterpret_cast<VecLongs>(sum) + exponent);
}

/// values[j] = exp(values[j] − max), for all classes and the padding up to a whole register;
/// returns their sum. The padding has to hold −∞ and counts for nothing.
[[gnu::always_inline]] inline double exponentials(double* values,
                                                  std::int64_t classes,
                                                  double max) {
    VecDoubles sum{};
    for (std::int64_t j = 0; j < classes; j += kDoubles) {
        VecDoubles x;
        __builtin_memcpy(&x, values + j, sizeof(x));
        x = exp_of_negative(x - max);
        sum += x;
        __builtin_memcpy(values + j, &x, sizeof(x));
    }
    double total = 0.0;
    for (int i = 0; i < kDoubles; ++i) {
        total += sum[i];
    }
    return total;
}

/// The logits of one row as doubles, padded for exponentials(), and the first of the largest.
struct Classes {
    double values[kMaxClasses + kDoubles];
    std::int64_t best;

    [[gnu::always_inline]] inline void read(const float* logits,
                                            const std::uint8_t* support,
                                            std::int64_t count) {
        best = 0;
        for (std::int64_t j = 0; j < count; ++j) {
            values[j] = static_cast<double>(logits[support != nullptr ? support[j] : j]);
            best = values[j] > values[best] ? j : best;
        }
        for (int i = 0; i < kDoubles; ++i) {
            values[count + i] = -__builtin_inf();
        }
    }
};

void cross_entropy(const CrossEntropyRows& task) {
    const std::int64_t count = task.support != nullptr ? task.support_size : task.vocabulary;
    Classes classes;
    for (std::int64_t row = 0; row < task.rows; ++row) {
        task.loss[row] = 0.0;
        const bool counts = task.weight == nullptr || task.weight[row] != 0.0F;
        if (!counts && task.best == nullptr) {
            continue;
        }
        const float* const logits = task.logits.data + row * task.logits.stride;
        classes.read(logits, task.support, count);
        if (task.best != nullptr) {
            task.best[row] = task.support != nullptr ? task.support[classes.best]
                                                     : static_cast<std::uint8_t>(classes.best);
        }
        if (counts) {
            const double max = classes.values[classes.best];
            const double target = static_cast<double>(logits[task.targets[row]]);
            task.loss[row] =
                __builtin_log(exponentials(classes.values, count, max)) + (max - target);
        }
    }
}

void cross_entropy_grad(const CrossEntropyGradRows& task) {
    Classes classes;
    for (std::int64_t row = 0; row < task.rows; ++row) {
        float* const out = task.dlogits.data + row * task.dlogits.stride;
        const double weight = task.weight != nullptr ? static_cast<double>(task.weight[row]) : 1.0;
        if (weight == 0.0) {
            for (std::int64_t j = 0; j < task.vocabulary; ++j) {
                out[j] = 0.0F;
            }
            continue;
        }
        classes.read(task.logits.data + row * task.logits.stride, nullptr, task.vocabulary);
        const double sum =
            exponentials(classes.values, task.vocabulary, classes.values[classes.best]);
        const double scale = task.scale * weight;
        classes.values[task.targets[row]] -= sum;
        for (std::int64_t j = 0; j < task.vocabulary; ++j) {
            out[j] = static_cast<float>(classes.values[j] * (scale / sum));
        }
    }
}

}  // namespace
}  // namespace mambase::cpu
