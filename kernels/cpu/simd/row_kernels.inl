// The text of the row kernels; row_<level>.cpp compiles it with that level's flags.
#include "kernels/cpu/simd/row_kernels.hpp"
#include "kernels/cpu/simd/row_softmax.inl"
#include "kernels/cpu/simd/vec.hpp"

namespace mambase::cpu {
namespace {

/// Calls body(i, count) for each register's worth of a row, the last one shorter.
template <class Body>
[[gnu::always_inline]] inline void for_each_vec(std::int64_t width, const Body& body) {
    std::int64_t i = 0;
    for (; i + Vec::kWidth <= width; i += Vec::kWidth) {
        body(i, Vec::kWidth);
    }
    if (i < width) {
        body(i, static_cast<int>(width - i));
    }
}

[[gnu::always_inline]] inline Vec load_some(const float* from, int count) {
    return count == Vec::kWidth ? load(from) : load_partial(from, count);
}

[[gnu::always_inline]] inline void store_some(float* to, Vec value, int count) {
    if (count == Vec::kWidth) {
        store(to, value);
    } else {
        store_partial(to, value, count);
    }
}

void rms_norm(const RmsNormRows& task) {
    for (std::int64_t row = 0; row < task.rows; ++row) {
        const std::int64_t from = task.ids != nullptr ? task.ids[row] : row;
        const float* const residual = task.residual_in.data + from * task.residual_in.stride;
        const float* const hidden = task.hidden.data + row * task.hidden.stride;
        float* const out = task.residual_out.data + row * task.residual_out.stride;
        const bool adds = task.hidden.data != nullptr;
        const bool stores = task.residual_out.data != nullptr;
        const auto sum = [&](std::int64_t i, int count) {
            const Vec value = load_some(residual + i, count);
            return adds ? value + load_some(hidden + i, count) : value;
        };
        Vec squares = zero();
        for_each_vec(task.width, [&](std::int64_t i, int count) {
            const Vec value = sum(i, count);
            if (stores) {
                store_some(out + i, value, count);
            }
            squares = fma(value, value, squares);
        });
        const double mean =
            static_cast<double>(reduce_add(squares)) / static_cast<double>(task.width);
        const auto rstd =
            static_cast<float>(1.0 / __builtin_sqrt(mean + static_cast<double>(task.eps)));
        if (task.rstd != nullptr) {
            task.rstd[row] = rstd;
        }
        const Vec scale = broadcast(rstd);
        float* const y = task.y.data + row * task.y.stride;
        for_each_vec(task.width, [&](std::int64_t i, int count) {
            // What is stored may lie over residual_in.
            const Vec normed = (stores ? load_some(out + i, count) : sum(i, count)) * scale;
            store_some(y + i, normed * load_some(task.weight + i, count), count);
        });
    }
}

void rms_norm_grad(const RmsNormGradRows& task) {
    for_each_vec(task.width,
                 [&](std::int64_t i, int count) { store_some(task.dweight + i, zero(), count); });
    for (std::int64_t row = 0; row < task.rows; ++row) {
        const float* const x = task.residual_out.data + row * task.residual_out.stride;
        const float* const dy = task.dy.data + row * task.dy.stride;
        const Vec rstd = broadcast(task.rstd[row]);
        Vec products = zero();
        for_each_vec(task.width, [&](std::int64_t i, int count) {
            const Vec normed = load_some(x + i, count) * rstd;
            const Vec grad = load_some(dy + i, count);
            products = fma(normed, grad * load_some(task.weight + i, count), products);
            store_some(task.dweight + i, fma(grad, normed, load_some(task.dweight + i, count)),
                       count);
        });
        const Vec mean = broadcast(reduce_add(products) / static_cast<float>(task.width));
        const float* const dresidual =
            task.dresidual_out.data != nullptr
                ? task.dresidual_out.data + row * task.dresidual_out.stride
                : nullptr;
        float* const dx = task.dx.data + row * task.dx.stride;
        for_each_vec(task.width, [&](std::int64_t i, int count) {
            const Vec normed = load_some(x + i, count) * rstd;
            const Vec grad = load_some(dy + i, count) * load_some(task.weight + i, count);
            Vec value = (grad - normed * mean) * rstd;
            if (dresidual != nullptr) {
                value = value + load_some(dresidual + i, count);
            }
            store_some(dx + i, value, count);
        });
    }
}

constexpr RowKernels kRowKernels = {rms_norm, rms_norm_grad, cross_entropy, cross_entropy_grad};

}  // namespace
}  // namespace mambase::cpu
