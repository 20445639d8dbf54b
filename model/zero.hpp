// Private to model/.
#pragma once

#include "kernels/tensor/view.hpp"

#include <cstddef>
#include <cstring>

namespace mambase::model {

/// Every byte of a contiguous tensor in host memory becomes 0.
inline void zero(TensorView view) {
    std::memset(view.data(), 0, static_cast<std::size_t>(view.count() * size_of(view.dtype())));
}

}  // namespace mambase::model
