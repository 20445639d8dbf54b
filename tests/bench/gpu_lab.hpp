// What the programs that run CUDA ops by hand share: a device, and tensors on it.
#pragma once

#include "kernels/ops/context.hpp"
#include "kernels/ops/op_table.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cmath>
#include <cstdint>
#include <memory>
#include <utility>

namespace mambase::test {

struct Gpu {
    std::unique_ptr<DeviceQueue> queue = ops::open_device({Device::Kind::cuda, 0});
    ThreadPool pool{1};
    StepMemory step{queue->memory()};
    StepMemory host{queue->host_memory()};
    ops::Context context{ops::op_table(queue->device()), pool, step, host, *queue, DType::bf16};
};

/// A tensor on the device whose rows lie `gap` elements apart, and what it holds.
class OnDevice {
  public:
    OnDevice(Gpu& gpu, const Tensor& values, DType dtype, std::int64_t gap = 0)
        : gpu_(&gpu), last_(values.shape().rank() - 1), width_(values.shape()[last_]) {
        Shape wide = values.shape();
        wide.set(last_, width_ + gap);
        host_ = filled(dtype, wide, gap > 0 ? std::nan("") : 0.0);
        copy_from(host_.view().slice(last_, 0, width_), to_array(values.view()));
        device_ = Tensor(gpu.queue->memory(), dtype, wide, "bench");
        copy(*gpu.queue, std::as_const(host_).view(), device_.view());
        gpu.queue->wait();
    }
    OnDevice(Gpu& gpu, DType dtype, const Shape& shape, double value, std::int64_t gap = 0)
        : OnDevice(gpu, filled(DType::f64, shape, value), dtype, gap) {}

    TensorView view() { return device_.view().slice(last_, 0, width_); }
    /// What was put in, rounded to the type.
    Array input() { return to_array(host_.view().slice(last_, 0, width_)); }
    Array output() {
        copy(*gpu_->queue, std::as_const(device_).view(), host_.view());
        gpu_->queue->wait();
        return input();
    }

  private:
    Gpu* gpu_;
    int last_;
    std::int64_t width_;
    Tensor host_, device_;
};

}  // namespace mambase::test
