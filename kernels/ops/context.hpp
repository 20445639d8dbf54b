// What every op is given first: where it runs and what it may use.
#pragma once

#include "base/thread_pool.hpp"
#include "kernels/tensor/buffer.hpp"
#include "kernels/tensor/dtype.hpp"

namespace mambase::ops {

struct OpTable;

/// One per worker; no globals. Ops take their scratch from `step` inside a scope of their own and
/// use `pool`.
struct Context {
    Device device;
    const OpTable& table;
    ThreadPool& pool;
    StepMemory& step;
};

/// The functions of a device's backend; throws Error{unsupported} where this build has none.
const OpTable& op_table(Device device);

}  // namespace mambase::ops
