#include "kernels/cuda/cuda_table.hpp"

#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"

namespace mambase::cuda {

namespace {

constexpr ops::OpTable make_table() {
    ops::OpTable table{};
    table.name = "cuda";
    table.bf16 = true;
    table.gradient_tile = kGradientTile;
    table.run_tile = kRunTile;
    table.embedding_forward = embedding_forward;
    table.embedding_backward = embedding_backward;
    table.linear_backward_scratch_bytes = linear_backward_scratch_bytes;
    table.linear_forward = linear_forward;
    table.linear_backward = linear_backward;
    table.rms_norm_forward = rms_norm_forward;
    table.rms_norm_backward = rms_norm_backward;
    table.causal_conv1d_forward = causal_conv1d_forward;
    table.causal_conv1d_backward = causal_conv1d_backward;
    table.selective_scan_saved_bytes = selective_scan_saved_bytes;
    table.selective_scan_starts_bytes = selective_scan_starts_bytes;
    table.selective_scan_backward_scratch_bytes = selective_scan_backward_scratch_bytes;
    table.selective_scan_forward = selective_scan_forward;
    table.selective_scan_backward = selective_scan_backward;
    table.cross_entropy_forward = cross_entropy_forward;
    table.cross_entropy_backward = cross_entropy_backward;
    table.pool_forward = pool_forward;
    table.pool_values = pool_values;
    table.pool_backward = pool_backward;
    table.cast = cast;
    table.fill = fill;
    table.add = add;
    table.norm_sq = norm_sq;
    table.adamw = adamw;
    return table;
}

constexpr ops::OpTable kTable = make_table();

}  // namespace

const ops::OpTable& table() {
    return kTable;
}

std::unique_ptr<DeviceQueue> open_device(int index) {
    return std::make_unique<CudaQueue>(index);
}

}  // namespace mambase::cuda
