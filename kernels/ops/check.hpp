// What check() and the dispatch of every op are made of.
#pragma once

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/ops/op_table.hpp"
#include "kernels/tensor/view.hpp"

namespace mambase::ops::detail {

enum class Layout {
    dense,  // no gaps, row-major
    rows,   // the elements of the last dimension are adjacent, rows may lie anywhere
};

/// Throws Error{shape} that names op and field unless `view` is there with this type, shape and
/// layout.
inline void require_tensor(const char* op,
                           const char* field,
                           const ConstTensorView& view,
                           DType dtype,
                           const Shape& shape,
                           Layout layout = Layout::dense) {
    MAMBASE_REQUIRE(static_cast<bool>(view), ErrorCode::shape,
                    concat(op, ": ", field, " is missing"));
    MAMBASE_REQUIRE(view.dtype() == dtype && view.shape() == shape, ErrorCode::shape,
                    concat(op, ": ", field, " is ", view.shape().text(), " of ", name(view.dtype()),
                           ", expected ", shape.text(), " of ", name(dtype)));
    const int last = shape.rank() - 1;
    MAMBASE_REQUIRE(
        layout == Layout::dense ? view.is_contiguous()
                                : view.stride(last) == 1 || view.extent(last) <= 1,
        ErrorCode::shape,
        concat(op, ": ", field, " has gaps between ",
               layout == Layout::dense ? "its rows or elements" : "the elements of a row"));
}

/// The type of an op's activations: f32, or bf16 where the backend has it.
inline DType require_activation_type(const char* op,
                                     const char* field,
                                     const ConstTensorView& view) {
    MAMBASE_REQUIRE(
        !view || view.dtype() == DType::f32 || view.dtype() == DType::bf16, ErrorCode::shape,
        concat(op, ": ", field, " is of ", name(view.dtype()), ", expected f32 or bf16"));
    return view.dtype();
}

/// The same for an argument that may be absent.
inline void optional_tensor(const char* op,
                            const char* field,
                            const ConstTensorView& view,
                            DType dtype,
                            const Shape& shape,
                            Layout layout = Layout::dense) {
    if (view) {
        require_tensor(op, field, view, dtype, shape, layout);
    }
}

/// Throws Error{shape} unless `view`, from which an op reads its extents, has this rank.
inline void require_rank(const char* op, const char* field, const ConstTensorView& view, int rank) {
    MAMBASE_REQUIRE(static_cast<bool>(view), ErrorCode::shape,
                    concat(op, ": ", field, " is missing"));
    MAMBASE_REQUIRE(
        view.shape().rank() == rank, ErrorCode::shape,
        concat(op, ": ", field, " is ", view.shape().text(), ", expected ", rank, " dimensions"));
}

/// Checks the arguments and calls the entry of the context's table; throws Error{unsupported}
/// where the backend lacks it.
template <class Op>
void dispatch(const char* op_name,
              void (*entry)(Context&, const Op&),
              Context& context,
              const Op& op) {
    check(op);
    MAMBASE_REQUIRE(entry != nullptr, ErrorCode::unsupported,
                    concat(op_name, " is not available on the backend ", context.table.name));
    entry(context, op);
}

}  // namespace mambase::ops::detail
