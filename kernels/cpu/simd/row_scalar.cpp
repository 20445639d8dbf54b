#include "kernels/cpu/simd/row_kernels.inl"

namespace mambase::cpu {

template <>
const RowKernels& row_kernels<SimdLevel::scalar>() {
    return kRowKernels;
}

}  // namespace mambase::cpu
