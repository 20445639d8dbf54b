// Where models are tested: on the CPU and, where a build with CUDA finds a card, on that, with
// activations in f32 and in bf16.
#pragma once

#include "base/text.hpp"
#include "base/thread_pool.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/ops/op_table.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "model/model.hpp"

#include <memory>
#include <string>
#include <vector>

namespace mambase::test {

struct Place {
    Device device;
    DType activations = DType::f32;

    bool is_device() const { return device.kind != Device::Kind::cpu; }
    std::string text() const { return concat(name(device), " ", name(activations)); }
    /// Chunks of whole tiles give the bits of the whole everywhere.
    std::int64_t tile() const { return ops::op_table(device).gradient_tile; }
};

/// The cards of this machine: none in a build without CUDA.
inline std::vector<Place> devices() {
    const Device device{Device::Kind::cuda, 0};
    return ops::device_count(device.kind) > 0
               ? std::vector<Place>{{device, DType::f32}, {device, DType::bf16}}
               : std::vector<Place>{};
}

/// The CPU first.
inline std::vector<Place> places() {
    std::vector<Place> out = devices();
    out.insert(out.begin(), Place{});
    return out;
}

/// Opened once, and never closed: the driver goes first.
inline DeviceQueue& queue_of(const Place& place) {
    if (!place.is_device()) {
        return host_queue();
    }
    static DeviceQueue* const queue = ops::open_device(place.device).release();
    return *queue;
}

/// A context there with everything that it refers to.
class PlacedContext {
  public:
    explicit PlacedContext(const Place& place, int threads = 1)
        : pool_(threads),
          step_(queue_of(place).memory()),
          host_(queue_of(place).host_memory()),
          context_(ops::op_table(place.device),
                   pool_,
                   step_,
                   place.is_device() ? host_ : step_,
                   queue_of(place),
                   place.activations) {
        set_flush_denormals();
    }
    ops::Context& operator*() { return context_; }
    DeviceQueue& queue() { return context_.queue; }

    Tensor make(DType dtype, const Shape& shape) {
        return {queue().memory(), dtype, shape, "test"};
    }
    /// Copies there of what the host has, and back.
    Tensor up(ConstTensorView host) { return copied(queue().memory(), host); }
    Tensor down(ConstTensorView view) { return copied(host_allocator(), view); }
    model::Model up(const model::Model& model) {
        return model.on_host(host_queue()).on_device(queue());
    }

  private:
    Tensor copied(Allocator& allocator, ConstTensorView from) {
        Tensor to(allocator, from.dtype(), from.shape(), "test");
        copy(queue(), from, to.view());
        queue().wait();
        return to;
    }

    ThreadPool pool_;
    StepMemory step_;
    StepMemory host_;
    ops::Context context_;
};

}  // namespace mambase::test
