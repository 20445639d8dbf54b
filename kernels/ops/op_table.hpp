// A backend is a filled OpTable: one line an op. A missing entry is a null pointer, and calling it
// throws Error{unsupported} that names the op and the device.
#pragma once

#include "kernels/ops/adamw.hpp"
#include "kernels/ops/causal_conv1d.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/ops/cross_entropy.hpp"
#include "kernels/ops/elementwise.hpp"
#include "kernels/ops/embedding.hpp"
#include "kernels/ops/linear.hpp"
#include "kernels/ops/pool.hpp"
#include "kernels/ops/rms_norm.hpp"
#include "kernels/ops/selective_scan.hpp"

#include <cstdint>

namespace mambase::ops {

struct OpTable {
    const char* name;
    bool bf16;  // has activations in bf16
    /// Rows over which a parameter's gradient is summed in f32 before it is added in f64. Tiles are
    /// counted from the start of a call, so calls of one sequence start at multiples of it. Tiles
    /// are added by descending position, then ascending lane.
    std::int64_t gradient_tile;
    /// Runs that share a lane, told apart by segment ids, have the bits that each has in a lane of
    /// its own, where those longer than this start at multiples of it and no shorter one lies
    /// across a multiple (outputs of the forward pass in reading).
    std::int64_t run_tile;

    // Step memory that the two ops with more than a trifle of scratch take in their backward beside
    // their arguments; for memory plans.
    std::int64_t (*linear_backward_scratch_bytes)(std::int64_t batch,
                                                  std::int64_t length,
                                                  std::int64_t inputs,
                                                  std::int64_t outputs);
    std::int64_t (*selective_scan_backward_scratch_bytes)(std::int64_t batch,
                                                          std::int64_t length,
                                                          std::int64_t inner,
                                                          std::int64_t state);

    void (*embedding_forward)(Context&, const Embedding&);
    void (*embedding_backward)(Context&, const EmbeddingGrad&);
    void (*linear_forward)(Context&, const Linear&);
    void (*linear_backward)(Context&, const LinearGrad&);
    void (*rms_norm_forward)(Context&, const RmsNorm&);
    void (*rms_norm_backward)(Context&, const RmsNormGrad&);
    void (*causal_conv1d_forward)(Context&, const CausalConv1d&);
    void (*causal_conv1d_backward)(Context&, const CausalConv1dGrad&);
    std::int64_t (*selective_scan_saved_bytes)(std::int64_t batch,
                                               std::int64_t length,
                                               std::int64_t inner,
                                               std::int64_t state);
    /// Optional.
    std::int64_t (*selective_scan_starts_bytes)(std::int64_t batch,
                                                std::int64_t length,
                                                std::int64_t inner,
                                                std::int64_t state);
    void (*selective_scan_forward)(Context&, const SelectiveScan&);
    void (*selective_scan_backward)(Context&, const SelectiveScanGrad&);
    void (*cross_entropy_forward)(Context&, const CrossEntropy&);
    void (*cross_entropy_backward)(Context&, const CrossEntropyGrad&);
    void (*pool_forward)(Context&, const Pool&);
    void (*pool_values)(Context&, const PoolValues&);
    void (*pool_backward)(Context&, const PoolGrad&);
    void (*cast)(Context&, const Cast&);
    void (*fill)(Context&, const Fill&);
    void (*add)(Context&, const Add&);
    void (*norm_sq)(Context&, const NormSq&);
    void (*adamw)(Context&, const AdamW&);
};

}  // namespace mambase::ops
