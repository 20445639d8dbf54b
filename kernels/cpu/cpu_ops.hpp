// The functions of the CPU backend, as its table names them. Those with code of their own for each
// SIMD level are templates over it, instantiated for the three levels where they are defined. All
// expect arguments that ops::check() has passed.
#pragma once

#include "kernels/cpu/simd_level.hpp"
#include "kernels/ops/op_table.hpp"

#include <cstdint>

namespace mambase::cpu {

/// Of the largest part, within some per cent.
std::int64_t linear_backward_scratch_bytes(std::int64_t batch,
                                           std::int64_t length,
                                           std::int64_t inputs,
                                           std::int64_t outputs);
std::int64_t selective_scan_backward_scratch_bytes(std::int64_t batch,
                                                   std::int64_t length,
                                                   std::int64_t inner,
                                                   std::int64_t state);

template <SimdLevel L>
void linear_forward(ops::Context& context, const ops::Linear& op);
template <SimdLevel L>
void linear_backward(ops::Context& context, const ops::LinearGrad& op);

template <SimdLevel L>
void rms_norm_forward(ops::Context& context, const ops::RmsNorm& op);
template <SimdLevel L>
void rms_norm_backward(ops::Context& context, const ops::RmsNormGrad& op);

template <SimdLevel L>
void causal_conv1d_forward(ops::Context& context, const ops::CausalConv1d& op);
template <SimdLevel L>
void causal_conv1d_backward(ops::Context& context, const ops::CausalConv1dGrad& op);

template <SimdLevel L>
std::int64_t selective_scan_saved_bytes(std::int64_t batch,
                                        std::int64_t length,
                                        std::int64_t inner,
                                        std::int64_t state);
template <SimdLevel L>
void selective_scan_forward(ops::Context& context, const ops::SelectiveScan& op);
template <SimdLevel L>
void selective_scan_backward(ops::Context& context, const ops::SelectiveScanGrad& op);

template <SimdLevel L>
void cross_entropy_forward(ops::Context& context, const ops::CrossEntropy& op);
template <SimdLevel L>
void cross_entropy_backward(ops::Context& context, const ops::CrossEntropyGrad& op);

void embedding_forward(ops::Context& context, const ops::Embedding& op);
void embedding_backward(ops::Context& context, const ops::EmbeddingGrad& op);
void pool_forward(ops::Context& context, const ops::Pool& op);
void pool_values(ops::Context& context, const ops::PoolValues& op);
void pool_backward(ops::Context& context, const ops::PoolGrad& op);
void cast(ops::Context& context, const ops::Cast& op);
void fill(ops::Context& context, const ops::Fill& op);
void add(ops::Context& context, const ops::Add& op);
void norm_sq(ops::Context& context, const ops::NormSq& op);
void adamw(ops::Context& context, const ops::AdamW& op);

}  // namespace mambase::cpu
