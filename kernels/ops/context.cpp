#include "kernels/ops/context.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "kernels/ops/op_table.hpp"

namespace mambase::ops {

Context::Context(const OpTable& ops, ThreadPool& threads, StepMemory& memory)
    : Context(ops, threads, memory, memory, host_queue(), DType::f32) {}

Context::Context(const OpTable& ops,
                 ThreadPool& threads,
                 StepMemory& memory,
                 StepMemory& memory_of_host,
                 DeviceQueue& device_queue,
                 DType activation_type)
    : device(device_queue.device()),
      table(ops),
      pool(threads),
      step(memory),
      host(memory_of_host),
      queue(device_queue),
      activations(activation_type) {
    MAMBASE_REQUIRE(
        activations == DType::f32 || (activations == DType::bf16 && table.bf16), ErrorCode::usage,
        concat("activations in ", name(activations), " are not available on ", table.name));
}

ConstTensorView on_device(Context& context, ConstTensorView host) {
    if (!host || context.device.kind == Device::Kind::cpu) {
        return host;
    }
    const TensorView out = context.step.take(host.dtype(), host.shape());
    copy(context.queue, host, out);
    return out;
}

ConstTensorView on_host(Context& context, ConstTensorView device) {
    if (!device || context.device.kind == Device::Kind::cpu) {
        return device;
    }
    const TensorView out = context.host.take(device.dtype(), device.shape());
    copy(context.queue, device, out);
    context.queue.wait();
    return out;
}

ConstTensorView fetched(Context& context, ConstTensorView device, StepMemory& host) {
    if (!device || context.device.kind == Device::Kind::cpu) {
        return device;
    }
    const TensorView out = host.take(device.dtype(), device.shape());
    fetch(context.queue, device, out);
    return out;
}

}  // namespace mambase::ops
