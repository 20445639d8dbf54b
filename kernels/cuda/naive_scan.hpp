#pragma once

#include "kernels/ops/naive_scan.hpp"

namespace mambase::cuda {

/// As ops::naive_scan_forward, which has checked the arguments.
void naive_scan_forward(ops::Context& context, const ops::SelectiveScan& op);

}  // namespace mambase::cuda
