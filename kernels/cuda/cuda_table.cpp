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
    table.linear_backward_scratch_bytes = linear_backward_scratch_bytes;
    table.linear_forward = linear_forward;
    table.linear_backward = linear_backward;
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
