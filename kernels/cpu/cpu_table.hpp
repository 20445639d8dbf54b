// The op table of the CPU backend, one for each SIMD level.
#pragma once

#include "kernels/cpu/simd_level.hpp"
#include "kernels/ops/op_table.hpp"

namespace mambase::cpu {

const ops::OpTable& table(SimdLevel level);

}  // namespace mambase::cpu
