#include "kernels/cpu/simd/sequence_kernels.inl"

namespace mambase::cpu {

template <>
const SequenceKernels& sequence_kernels<SimdLevel::avx512>() {
    return kSequenceKernels;
}

}  // namespace mambase::cpu
