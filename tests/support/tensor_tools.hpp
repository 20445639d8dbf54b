// Tensors for tests: made from seeds, read as doubles, compared.
#pragma once

#include "base/rng.hpp"
#include "base/text.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/view.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace mambase::test {

/// A dense row-major array of doubles: what the references in tests/support/reference work on. An
/// array without values is an absent argument.
struct Array {
    Shape shape;
    std::vector<double> values;

    Array() = default;
    explicit Array(const Shape& extents, double value = 0.0)
        : shape(extents), values(static_cast<std::size_t>(extents.count()), value) {}

    explicit operator bool() const { return !values.empty(); }
    std::int64_t extent(int dim) const { return shape[dim]; }

    template <class... Index>
    double& operator()(Index... index) {
        return values[offset({static_cast<std::int64_t>(index)...})];
    }
    template <class... Index>
    double operator()(Index... index) const {
        return values[offset({static_cast<std::int64_t>(index)...})];
    }

  private:
    std::size_t offset(std::initializer_list<std::int64_t> index) const {
        std::int64_t at = 0;
        int dim = 0;
        for (const std::int64_t i : index) {
            at = at * shape[dim++] + i;
        }
        return static_cast<std::size_t>(at);
    }
};

namespace detail {

/// Calls use(element offset in `view`, running number) for every element, in row-major order.
template <class TView, class Use>
void for_each_element(const TView& view, const Use& use) {
    const int rank = view.shape().rank();
    const std::int64_t count = view.count();
    for (std::int64_t n = 0; n < count; ++n) {
        std::int64_t rest = n;
        std::int64_t offset = 0;
        for (int dim = rank - 1; dim >= 0; --dim) {
            offset += rest % view.extent(dim) * view.stride(dim);
            rest /= view.extent(dim);
        }
        use(offset, n);
    }
}

inline double element(DType dtype, const void* data, std::int64_t at) {
    switch (dtype) {
        case DType::f32:
            return static_cast<double>(static_cast<const float*>(data)[at]);
        case DType::f64:
            return static_cast<const double*>(data)[at];
        case DType::bf16: {
            const std::uint32_t bits = static_cast<const std::uint16_t*>(data)[at];
            return static_cast<double>(std::bit_cast<float>(bits << 16));
        }
        case DType::i32:
            return static_cast<double>(static_cast<const std::int32_t*>(data)[at]);
        case DType::i64:
            return static_cast<double>(static_cast<const std::int64_t*>(data)[at]);
        case DType::u8:
            return static_cast<double>(static_cast<const std::uint8_t*>(data)[at]);
    }
    return 0.0;
}

inline void set_element(DType dtype, void* data, std::int64_t at, double value) {
    switch (dtype) {
        case DType::f32:
            static_cast<float*>(data)[at] = static_cast<float>(value);
            return;
        case DType::f64:
            static_cast<double*>(data)[at] = value;
            return;
        case DType::bf16: {  // the nearest, of two the even one; a NaN stays one
            const auto narrow = static_cast<float>(value);
            const auto bits = std::bit_cast<std::uint32_t>(narrow);
            const std::uint32_t rounded =
                std::isnan(narrow) ? bits | 0x400000U : bits + 0x7FFFU + (bits >> 16 & 1U);
            static_cast<std::uint16_t*>(data)[at] = static_cast<std::uint16_t>(rounded >> 16);
            return;
        }
        case DType::i32:
            static_cast<std::int32_t*>(data)[at] = static_cast<std::int32_t>(value);
            return;
        case DType::i64:
            static_cast<std::int64_t*>(data)[at] = static_cast<std::int64_t>(value);
            return;
        case DType::u8:
            static_cast<std::uint8_t*>(data)[at] = static_cast<std::uint8_t>(value);
            return;
    }
}

}  // namespace detail

/// Any view, strided or not, as doubles; an absent view gives an absent array.
inline Array to_array(ConstTensorView view) {
    if (!view) {
        return {};
    }
    Array out(view.shape());
    detail::for_each_element(view, [&](std::int64_t offset, std::int64_t n) {
        out.values[static_cast<std::size_t>(n)] =
            detail::element(view.dtype(), view.data(), offset);
    });
    return out;
}

inline void fill_with(TensorView view, double value) {
    detail::for_each_element(view, [&](std::int64_t offset, std::int64_t /*n*/) {
        detail::set_element(view.dtype(), view.data(), offset, value);
    });
}

inline void copy_from(TensorView view, const Array& values) {
    detail::for_each_element(view, [&](std::int64_t offset, std::int64_t n) {
        detail::set_element(view.dtype(), view.data(), offset,
                            values.values[static_cast<std::size_t>(n)]);
    });
}

/// Every element of every row and the gaps between rows: `value`.
inline Tensor filled(DType dtype, const Shape& shape, double value) {
    Tensor tensor(host_allocator(), dtype, shape, "test");
    fill_with(tensor.view(), value);
    return tensor;
}

inline Tensor from_array(DType dtype, const Array& values) {
    Tensor tensor(host_allocator(), dtype, values.shape, "test");
    copy_from(tensor.view(), values);
    return tensor;
}

/// mean + deviation·normal, f32. A tensor's values depend on (seed, stream) alone.
inline Tensor normal_tensor(const Shape& shape,
                            std::uint64_t seed,
                            std::uint64_t stream,
                            double deviation = 1.0,
                            double mean = 0.0) {
    Tensor tensor(host_allocator(), DType::f32, shape, "test");
    const CounterRng rng(seed, stream);
    float* const data = static_cast<float*>(tensor.view().data());
    for (std::int64_t i = 0; i < shape.count(); ++i) {
        data[i] = static_cast<float>(mean + deviation * rng.normal(static_cast<std::uint64_t>(i)));
    }
    return tensor;
}

/// The same f32 values, each the nearest that `dtype` has.
inline Tensor rounded(Tensor tensor, DType dtype) {
    auto* const data = static_cast<float*>(tensor.view().data());
    for (std::int64_t i = 0; dtype == DType::bf16 && i < tensor.shape().count(); ++i) {
        std::uint16_t narrow = 0;
        detail::set_element(DType::bf16, &narrow, 0, static_cast<double>(data[i]));
        data[i] = static_cast<float>(detail::element(DType::bf16, &narrow, 0));
    }
    return tensor;
}

/// Uniform ids below n, of type u8, i32 or i64.
inline Tensor random_ids(
    DType dtype, const Shape& shape, std::int64_t n, std::uint64_t seed, std::uint64_t stream) {
    Tensor tensor(host_allocator(), dtype, shape, "test");
    const CounterRng rng(seed, stream);
    for (std::int64_t i = 0; i < shape.count(); ++i) {
        const std::uint64_t id =
            rng.below(static_cast<std::uint64_t>(i), static_cast<std::uint64_t>(n));
        detail::set_element(dtype, tensor.view().data(), i, static_cast<double>(id));
    }
    return tensor;
}

/// The gap after which a row starts at a multiple of 8 elements again, as vectors want it.
inline constexpr std::int64_t kAlignedGap = -1;

/// A tensor whose rows lie `gap` elements apart, filled with `value`: view() leaves the gaps out,
/// gaps_untouched() tells whether they still hold it.
class StridedTensor {
  public:
    StridedTensor(const Shape& shape, std::int64_t gap, double value) : value_(value) {
        Shape wide = shape;
        last_ = shape.rank() - 1;
        width_ = shape[last_];
        gap = gap == kAlignedGap ? 16 - width_ % 8 : gap;
        wide.set(last_, width_ + gap);
        tensor_ = filled(DType::f32, wide, value);
    }
    StridedTensor(const Tensor& values, std::int64_t gap, double gap_value)
        : StridedTensor(values.shape(), gap, gap_value) {
        copy_from(view(), to_array(values.view()));
    }

    TensorView view() { return tensor_.view().slice(last_, 0, width_); }
    bool gaps_untouched() {
        const std::int64_t end = tensor_.shape()[last_];
        for (const double x : to_array(tensor_.view().slice(last_, width_, end)).values) {
            if (!(x == value_ || (std::isnan(x) && std::isnan(value_)))) {
                return false;
            }
        }
        return true;
    }

  private:
    Tensor tensor_;
    double value_;
    std::int64_t width_ = 0;
    int last_ = 0;
};

/// max|a − b| / max|b|; infinite for a NaN or an infinity that one side lacks, or for other shapes.
inline double relative_error(const Array& a, const Array& b) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (!(a.shape == b.shape)) {
        return infinite;
    }
    double difference = 0.0;
    double largest = 0.0;
    for (std::size_t i = 0; i < a.values.size(); ++i) {
        const double x = a.values[i];
        const double y = b.values[i];
        if (!std::isfinite(x) || !std::isfinite(y)) {
            if (x != y && !(std::isnan(x) && std::isnan(y))) {
                return infinite;
            }
            continue;
        }
        difference = std::max(difference, std::abs(x - y));
        largest = std::max(largest, std::abs(y));
    }
    return difference == 0.0 ? 0.0 : difference / largest;
}
inline double relative_error(ConstTensorView a, const Array& b) {
    return relative_error(to_array(a), b);
}

/// ‖a − b‖ / ‖b‖, with the same rule for NaN and infinity.
inline double relative_norm_error(const Array& a, const Array& b) {
    constexpr double infinite = std::numeric_limits<double>::infinity();
    if (!(a.shape == b.shape)) {
        return infinite;
    }
    double difference = 0.0;
    double norm = 0.0;
    for (std::size_t i = 0; i < a.values.size(); ++i) {
        const double gap = a.values[i] - b.values[i];
        if (!std::isfinite(gap)) {
            return infinite;
        }
        difference += gap * gap;
        norm += b.values[i] * b.values[i];
    }
    return difference == 0.0 ? 0.0 : std::sqrt(difference / norm);
}
inline double relative_norm_error(ConstTensorView a, const Array& b) {
    return relative_norm_error(to_array(a), b);
}

/// Bit for bit, gaps between rows left out; NaNs have to be the same NaN.
inline bool same_bits(ConstTensorView a, ConstTensorView b) {
    if (!(a.shape() == b.shape()) || a.dtype() != b.dtype()) {
        return false;
    }
    const auto size = static_cast<std::size_t>(size_of(a.dtype()));
    const auto packed = [size](const ConstTensorView& view) {
        std::vector<unsigned char> bytes(static_cast<std::size_t>(view.count()) * size);
        detail::for_each_element(view, [&](std::int64_t offset, std::int64_t n) {
            std::memcpy(bytes.data() + static_cast<std::size_t>(n) * size,
                        static_cast<const unsigned char*>(view.data()) +
                            static_cast<std::size_t>(offset) * size,
                        size);
        });
        return bytes;
    };
    return packed(a) == packed(b);
}

/// The derivative of loss() by each element of `x`, by central differences of step h·max(1, |x|).
/// `loss` has to read `x` through the reference it was given.
template <class Loss>
Array central_differences(Array& x, const Loss& loss, double h = 1e-5) {
    Array gradient(x.shape);
    for (std::size_t i = 0; i < x.values.size(); ++i) {
        const double kept = x.values[i];
        const double step = h * std::max(1.0, std::abs(kept));
        x.values[i] = kept + step;
        const double above = loss();
        x.values[i] = kept - step;
        const double below = loss();
        x.values[i] = kept;
        gradient.values[i] = (above - below) / (2.0 * step);
    }
    return gradient;
}

/// Σ a·b: a loss whose gradient by `a` is `b`.
inline double inner_product(const Array& a, const Array& b) {
    double sum = 0.0;
    for (std::size_t i = 0; i < a.values.size(); ++i) {
        sum += a.values[i] * b.values[i];
    }
    return sum;
}

/// a += b
inline void add_to(Array& a, const Array& b) {
    for (std::size_t i = 0; i < a.values.size(); ++i) {
        a.values[i] += b.values[i];
    }
}

}  // namespace mambase::test
