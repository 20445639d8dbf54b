#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/tensor/view.hpp"

#include <cstdint>

namespace mambase::ops {

/// delta = softplus(dt_raw + dt_bias) (the sum itself above 20),  A = −exp(a_log)
/// h[t] = exp(delta·A)·h[t−1] + delta·b[t]·x[t],  y[t] = (c[t]·h[t] + d·x[t])·silu(z[t]),  h[−1] =
/// state_in
///                                                    (Gu and Dao 2023, algorithm 2; spec:
///                                                    Mamba 1.3 step 8)
///
/// Position 0 always continues state_in. Where `segment` changes between t − 1 and t the decay is 0
/// and no gradient flows back. state_out is the state after position valid − 1. Rows from `valid`
/// on: y is zero and no gradient passes. Rows of x, dt_raw, z, b, c may be strided.
struct SelectiveScan {
    ConstTensorView x, dt_raw;   // [B,T,E] f32 or bf16, as z, b, c, y and their gradients
    ConstTensorView z;           // [B,T,E] optional gate
    ConstTensorView a_log;       // [E,N]   f32
    ConstTensorView b, c;        // [B,T,N]
    ConstTensorView d, dt_bias;  // [E]     f32
    ConstTensorView segment;     // [B,T]   i32, optional
    ConstTensorView valid;       // [B]     i64, optional: positions that count, default T
    ConstTensorView state_in;    // [B,E,N] f32, optional: zeros; may alias state_out
    TensorView y;                // [B,T,E]
    TensorView state_out;        // [B,E,N] f32, optional
    TensorView saved;            // [bytes] u8, optional; needed by backward
    /// [selective_scan_starts_bytes()] u8, optional: the states from which the backend's own pieces
    /// of the length start. Written; where has_starts, read instead of being computed again, for a
    /// call over the same inputs that has no state_out.
    TensorView starts = {};
    bool has_starts = false;
    /// Of a training step: a backend may cut it otherwise than reading, so that the last bits
    /// differ between the two, never within one of them.
    bool for_training = false;
};

/// Bytes of SelectiveScan::saved.
std::int64_t selective_scan_saved_bytes(const OpTable& table,
                                        std::int64_t batch,
                                        std::int64_t length,
                                        std::int64_t inner,
                                        std::int64_t state);

/// Bytes of SelectiveScan::starts of a call for training; 0 where a backend has no use for them.
std::int64_t selective_scan_starts_bytes(const OpTable& table,
                                         std::int64_t batch,
                                         std::int64_t length,
                                         std::int64_t inner,
                                         std::int64_t state);

/// (Formulas: spec Mamba 1.9; a·h[t−1] is formed directly, not as h[t] − delta·b·x.)
struct SelectiveScanGrad {
    ConstTensorView x, dt_raw, z;  // as above
    ConstTensorView a_log;         //
    ConstTensorView b, c;          //
    ConstTensorView d, dt_bias;    //
    ConstTensorView segment;       //
    ConstTensorView valid;         //
    ConstTensorView state_in;      //
    ConstTensorView saved;         // of the forward call with the same arguments
    ConstTensorView dy;            // [B,T,E]
    ConstTensorView dstate_out;    // [B,E,N] f32, optional: zeros; may alias dstate_in
    TensorView dx, ddt_raw;        // [B,T,E] rows may be strided, as all activation gradients
    TensorView dz;                 // [B,T,E] present iff z is
    TensorView da_log;             // [E,N]   f64, accumulates
    TensorView db, dc;             // [B,T,N]
    TensorView dd, ddt_bias;       // [E]     f64, accumulate
    TensorView dstate_in;          // [B,E,N] f32, optional
    /// As SelectiveScan has it: of a window in parts, all of them or none.
    bool for_training = false;
};

void check(const SelectiveScan& op);
void check(const SelectiveScanGrad& op);
void selective_scan_forward(Context& context, const SelectiveScan& op);
void selective_scan_backward(Context& context, const SelectiveScanGrad& op);

}  // namespace mambase::ops
