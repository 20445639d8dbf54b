#pragma once

#include "kernels/ops/naive_scan.hpp"

namespace mambase::cpu {

/// As ops::naive_scan_forward, which has checked the arguments. No SIMD but the compiler's.
void naive_scan_forward(ops::Context& context, const ops::SelectiveScan& op);

}  // namespace mambase::cpu
