// Checks a model directory, and its numbers against those of an independent implementation.
#pragma once

#include "kernels/ops/context.hpp"
#include "model/model.hpp"

#include <string>
#include <vector>

namespace mambase::model {

/// One comparison. max_abs = max|a−b|; relative = max|a−b| / max|b|, for gradients ‖a−b‖ / ‖b‖.
struct VerifyLine {
    std::string what;  // "logits", "loss", "hidden.0", "grad.backbone.…"
    double max_abs = 0.0;
    double relative = 0.0;
    double bound = 0.0;
    bool bounds_relative = false;  // which of the two the bound is for
    bool ok = false;
};

struct VerifyReport {
    std::string summary;  // what was checked of the directory itself, with the hash
    std::vector<VerifyLine> lines;
    bool ok() const;
    /// One line each.
    std::string text() const;
};

/// Loads `dir` (header, shapes, finiteness: Error{format}). With `expected`, a safetensors file
/// that holds `input_ids` [B,L] i64, it also compares what of these f32 tensors the file holds:
///
/// - `logits64`, else `logits` [B,L,V]: largest difference 2e-5.
/// - From the same, the mean cross-entropy of the next ids, ours and theirs in double
///   precision: 1e-6.
/// - `hidden.i` [B,L,D]: relative 2e-5; the residual stream after block i, counted from 0, and
///   for i the number of blocks what comes out of the final norm.
/// - `grad.<parameter>`: relative 1e-4, of the mean loss.
VerifyReport verify(ops::Context& context,
                    const std::string& dir,
                    const std::string& expected = {});

}  // namespace mambase::model
