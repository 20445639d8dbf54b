// The golden inputs of `selftest`, which the program and whoever makes the golden results share.
#pragma once

#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/view.hpp"
#include "model/adamw.hpp"
#include "model/config.hpp"
#include "model/model.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace mambase::pipelines {

/// One step of one model: a function of these sizes alone.
struct SelftestCase {
    std::string name;
    model::ModelConfig config;
    std::int64_t lanes = 0;
    std::int64_t length = 0;
};

/// Widths that fill vectors and odd ones, with and without biases and a tied head; a lane of more
/// than one gradient tile of every backend, and several short ones.
const std::vector<SelftestCase>& selftest_cases();

/// Every parameter drawn, those too that start as constants. On the host, as all of these.
model::Model selftest_model(const SelftestCase& at);
/// [B,T+1] u8: the inputs and, one to the right, the targets.
Tensor selftest_ids(const SelftestCase& at);
/// [B,T] f32: 1, 0.1 and 0.
Tensor selftest_weights(const SelftestCase& at);

/// Of the one update. The gradient is clipped; eps is of its size, or signs would be all that is
/// left of it; the rate is so high that the update is not lost in the rounding of the weights.
inline constexpr model::AdamWOptions kSelftestAdamW{
    .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-3, .weight_decay = 0.1, .clip = 0.1};
inline constexpr double kSelftestRate = 100.0;

/// What is kept of many values: their norm, and their sums under a few fixed drawings of signs. The
/// mean square difference of two such sums is that of the values' distance, whatever the values: a
/// single one that is off shows in each.
struct Sketch {
    static constexpr std::size_t kSums = 4;
    double norm = 0.0;
    std::array<double, kSums> sums{};
};

/// `values`: contiguous, on the host, f32 or f64.
Sketch sketch_of(ConstTensorView values);
Sketch sketch_of(const double* values, std::int64_t count);

/// ‖a − b‖ / ‖b‖ as far as the sketches tell; not finite where `a` is not.
double relative_difference(const Sketch& a, const Sketch& b);

}  // namespace mambase::pipelines
