// What every op is given first: where it runs and what it may use.
#pragma once

#include "base/thread_pool.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "kernels/tensor/dtype.hpp"

#include <memory>
#include <string>
#include <vector>

namespace mambase::ops {

struct OpTable;

/// One per worker; no globals. Ops take their scratch from `step` inside a scope of their own, and
/// use `pool` (CPU) or what their backend keeps in `queue` (CUDA).
struct Context {
    /// On the host.
    Context(const OpTable& ops, ThreadPool& threads, StepMemory& memory);
    /// On the device of `queue`. `activations`: f32, or bf16 where the backend has it
    /// (Error{usage} elsewhere).
    Context(const OpTable& ops,
            ThreadPool& threads,
            StepMemory& memory,
            StepMemory& memory_of_host,
            DeviceQueue& device_queue,
            DType activation_type);

    Device device;
    const OpTable& table;
    ThreadPool& pool;
    StepMemory& step;  // of the device
    StepMemory& host;  // of the host; on the CPU the same as `step`
    DeviceQueue& queue;
    DType activations = DType::f32;  // what a model computes its activations in
};

/// The functions of a device's backend; throws Error{unsupported} where this build has none.
const OpTable& op_table(Device device);
/// Those of the CPU at every instruction set that this processor has, the plainest first.
std::vector<const OpTable*> cpu_tables();

/// A queue of work on a device other than the CPU. Throws Error{unsupported} where this build has
/// no backend for it, Error{device} with driver and card where it cannot be used.
std::unique_ptr<DeviceQueue> open_device(Device device);

/// Whether this build has a backend for devices of this kind.
bool has_backend(Device::Kind kind) noexcept;
/// Devices of this kind that are visible to this build, usable or not.
int device_count(Device::Kind kind);

/// What computes: "cpu avx2", "cuda:0 NVIDIA H100 80GB HBM3". Throws as op_table does.
std::string device_name(Device device);
/// The CUDA runtime of this build, the driver and the devices, for people: one line.
std::string cuda_summary();

/// The same values where ops can read them: `host` itself on the CPU, else a copy in `step`. `host`
/// is contiguous, and stays as it is until the next wait.
ConstTensorView on_device(Context& context, ConstTensorView host);
/// The same values where the host can read them, once they are computed: `device` itself on the
/// CPU, else a copy in `host`. `device` is contiguous.
ConstTensorView on_host(Context& context, ConstTensorView device);
/// The same for a caller who waits later: there once a fence that is asked for after it has been
/// waited for. The copy lies in `host`, memory of the host, and both stay until then.
ConstTensorView fetched(Context& context, ConstTensorView device, StepMemory& host);

}  // namespace mambase::ops
