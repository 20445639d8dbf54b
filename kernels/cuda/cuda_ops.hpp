// The functions of the CUDA backend, as its table names them. All expect arguments that
// ops::check() has passed, and return once the work is in the context's queue.
#pragma once

#include "kernels/ops/op_table.hpp"

#include <cstdint>

namespace mambase::cuda {

/// OpTable::gradient_tile. Longer tiles leave fewer partial sums of weights' gradients to add in
/// double precision; at 8,192 rows they are a hundredth of the work of the products.
constexpr std::int64_t kGradientTile = 8192;
/// OpTable::run_tile: the scan's tile in reading.
constexpr std::int64_t kRunTile = 4096;

void embedding_forward(ops::Context& context, const ops::Embedding& op);
void embedding_backward(ops::Context& context, const ops::EmbeddingGrad& op);
std::int64_t linear_backward_scratch_bytes(std::int64_t batch,
                                           std::int64_t length,
                                           std::int64_t inputs,
                                           std::int64_t outputs);
void linear_forward(ops::Context& context, const ops::Linear& op);
void linear_backward(ops::Context& context, const ops::LinearGrad& op);
void rms_norm_forward(ops::Context& context, const ops::RmsNorm& op);
void rms_norm_backward(ops::Context& context, const ops::RmsNormGrad& op);
void causal_conv1d_forward(ops::Context& context, const ops::CausalConv1d& op);
void causal_conv1d_backward(ops::Context& context, const ops::CausalConv1dGrad& op);
std::int64_t selective_scan_saved_bytes(std::int64_t batch,
                                        std::int64_t length,
                                        std::int64_t inner,
                                        std::int64_t state);
std::int64_t selective_scan_starts_bytes(std::int64_t batch,
                                         std::int64_t length,
                                         std::int64_t inner,
                                         std::int64_t state);
std::int64_t selective_scan_backward_scratch_bytes(std::int64_t batch,
                                                   std::int64_t length,
                                                   std::int64_t inner,
                                                   std::int64_t state);
void selective_scan_forward(ops::Context& context, const ops::SelectiveScan& op);
void selective_scan_backward(ops::Context& context, const ops::SelectiveScanGrad& op);
void cross_entropy_forward(ops::Context& context, const ops::CrossEntropy& op);
void cross_entropy_backward(ops::Context& context, const ops::CrossEntropyGrad& op);
void pool_forward(ops::Context& context, const ops::Pool& op);
void pool_values(ops::Context& context, const ops::PoolValues& op);
void pool_backward(ops::Context& context, const ops::PoolGrad& op);
void cast(ops::Context& context, const ops::Cast& op);
void fill(ops::Context& context, const ops::Fill& op);
void add(ops::Context& context, const ops::Add& op);
void norm_sq(ops::Context& context, const ops::NormSq& op);
void adamw(ops::Context& context, const ops::AdamW& op);

}  // namespace mambase::cuda
