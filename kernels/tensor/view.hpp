// Views of tensors: they own nothing, are cheap to copy and are passed by value.
//
// TensorView and ConstTensorView carry their element type at run time; as<T, Rank>() checks type
// and rank once and gives a View<T, Rank>, a plain struct for loops and kernels.
#pragma once

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/tensor/dtype.hpp"
#include "kernels/tensor/shape.hpp"

#include <array>
#include <cstdint>
#include <type_traits>

#if defined(__CUDACC__)
#define MAMBASE_HOST_DEVICE __host__ __device__
#else
#define MAMBASE_HOST_DEVICE
#endif

namespace mambase {

/// Strides are in elements.
template <class T, int Rank>
struct View {
    T* data;
    std::int64_t extent[Rank];
    std::int64_t stride[Rank];

    /// Fewer indices than dimensions: the element at 0 of the rest, so that &v(b, t) is a row.
    template <class... Index>
    MAMBASE_HOST_DEVICE T& operator()(Index... index) const {
        static_assert(sizeof...(Index) <= Rank);
        const std::int64_t indices[] = {static_cast<std::int64_t>(index)...};
        std::int64_t offset = 0;
        for (int dim = 0; dim < static_cast<int>(sizeof...(Index)); ++dim) {
            offset += indices[dim] * stride[dim];
        }
        return data[offset];
    }
    MAMBASE_HOST_DEVICE explicit operator bool() const { return data != nullptr; }
};

template <bool IsConst>
class BasicTensorView {
  public:
    using Pointer = std::conditional_t<IsConst, const void*, void*>;
    using Strides = std::array<std::int64_t, Shape::kMaxRank>;

    /// Absent: an optional argument that was not given.
    BasicTensorView() = default;

    /// Contiguous, row-major.
    BasicTensorView(Pointer data, DType dtype, const Shape& shape, Device device = {})
        : data_(data), shape_(shape), dtype_(dtype), device_(device) {
        std::int64_t stride = 1;
        for (int dim = shape.rank() - 1; dim >= 0; --dim) {
            strides_[static_cast<std::size_t>(dim)] = stride;
            stride *= shape[dim];
        }
    }

    // A mutable view is usable where a const one is asked for.
    template <bool Other, class = std::enable_if_t<IsConst && !Other>>
    BasicTensorView(const BasicTensorView<Other>& other)  // NOLINT(google-explicit-constructor)
        : data_(other.data()),
          shape_(other.shape()),
          strides_(other.strides()),
          dtype_(other.dtype()),
          device_(other.device()) {}

    explicit operator bool() const noexcept { return data_ != nullptr; }
    Pointer data() const noexcept { return data_; }
    const Shape& shape() const noexcept { return shape_; }
    std::int64_t extent(int dim) const noexcept { return shape_[dim]; }
    const Strides& strides() const noexcept { return strides_; }
    std::int64_t stride(int dim) const noexcept { return strides_[static_cast<std::size_t>(dim)]; }
    DType dtype() const noexcept { return dtype_; }
    Device device() const noexcept { return device_; }
    std::int64_t count() const { return shape_.count(); }

    bool is_contiguous() const noexcept {
        std::int64_t expected = 1;
        for (int dim = shape_.rank() - 1; dim >= 0; --dim) {
            if (shape_[dim] != 1 && stride(dim) != expected) {
                return false;
            }
            expected *= shape_[dim];
        }
        return true;
    }

    /// Elements [lo, hi) of dimension `dim`.
    BasicTensorView slice(int dim, std::int64_t lo, std::int64_t hi) const {
        MAMBASE_REQUIRE(
            dim >= 0 && dim < shape_.rank() && lo >= 0 && lo <= hi && hi <= shape_[dim],
            ErrorCode::shape,
            concat("slice [", lo, ", ", hi, ") of dimension ", dim, " of ", shape_.text()));
        BasicTensorView out = *this;
        using Byte = std::conditional_t<IsConst, const char, char>;
        out.data_ = static_cast<Byte*>(data_) + lo * stride(dim) * size_of(dtype_);
        out.shape_.set(dim, hi - lo);
        return out;
    }

    /// The same elements under another shape; the view has to be contiguous.
    BasicTensorView reshape(const Shape& shape) const {
        MAMBASE_REQUIRE(is_contiguous() && shape.count() == count(), ErrorCode::shape,
                        concat("cannot see ", shape_.text(), " as ", shape.text()));
        return BasicTensorView(data_, dtype_, shape, device_);
    }

    /// Throws Error{shape} unless type and rank are as asked. T is const for a const view.
    template <class T, int Rank>
    View<T, Rank> as() const {
        static_assert(!IsConst || std::is_const_v<T>, "a const view gives View<const T, Rank>");
        MAMBASE_REQUIRE(
            data_ == nullptr ||
                (dtype_ == DTypeOf<std::remove_const_t<T>>::value && shape_.rank() == Rank),
            ErrorCode::shape,
            concat("a tensor ", shape_.text(), " of ", name(dtype_), " is used as rank ", Rank,
                   " of ", name(DTypeOf<std::remove_const_t<T>>::value)));
        View<T, Rank> view{};
        view.data = static_cast<T*>(data_);
        for (int dim = 0; dim < Rank; ++dim) {
            view.extent[dim] = shape_[dim];
            view.stride[dim] = stride(dim);
        }
        return view;
    }

  private:
    Pointer data_ = nullptr;
    Shape shape_;
    Strides strides_{};
    DType dtype_ = DType::f32;
    Device device_;
};

using TensorView = BasicTensorView<false>;
using ConstTensorView = BasicTensorView<true>;

}  // namespace mambase
