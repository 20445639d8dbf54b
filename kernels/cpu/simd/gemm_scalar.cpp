#include "kernels/cpu/simd/gemm_kernels.inl"

namespace mambase::cpu {

template <>
const GemmKernels& gemm_kernels<SimdLevel::scalar>() {
    return kGemmKernels;
}

}  // namespace mambase::cpu
