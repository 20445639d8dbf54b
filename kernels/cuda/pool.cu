#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/ops/pool.hpp"

namespace mambase::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRows = 32;       // of a block of the backward
constexpr int kStageRows = 16;  // that a warp of the forward fetches at once
constexpr int kFetchWarps = kWarps - 1;
constexpr int kStage = kStageRows * kFetchWarps;

using Counter = unsigned long long;  // what atomics take

/// Where the rows of each group lie in a call. An id past the last group cannot throw from here:
/// its rows are left out.
struct GroupRows {
    Counter* first;  // [B,G] the first row; all ones without one
    Counter* end;    // [B,G] past the last row; 0 without one
    Counter* rows;   // [B,G]
    std::int64_t groups;
};

struct GroupParams {
    LaneRows<const std::int32_t> group;
    GroupRows found;
    std::int64_t length;
    unsigned lane_blocks;
};

template <class T>
struct PoolParams {
    LaneRows<const T> x;
    LaneRows<const std::int32_t> group;
    GroupRows found;
    LaneRows<double> sum;
    LaneRows<const std::int64_t> count;
    ops::PoolMode mode;
    std::int64_t width;
    unsigned slabs;  // of 32·N channels
};

struct PoolValuesParams {
    LaneRows<const double> sum;
    LaneRows<const std::int64_t> count;
    LaneRows<float> y;
    ops::PoolMode mode;
    std::int64_t groups, width;
};

template <class T>
struct PoolGradParams {
    LaneRows<const T> x;
    LaneRows<const std::int32_t> group;
    GroupRows found;
    LaneRows<const double> sum;
    LaneRows<const std::int64_t> count;
    LaneRows<const std::int64_t> pending;
    LaneRows<const float> dy;
    LaneRows<T> dx;
    ops::PoolMode mode;
    std::int64_t length, width;
    unsigned lane_blocks;
};

/// Whole numbers add and compare to the same in any order.
__global__ __launch_bounds__(kThreads) void find_groups_kernel(GroupParams p) {
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t t =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kThreads + threadIdx.x;
    int id = t < p.length ? *p.group.row(lane, t) : -1;
    id = id < p.found.groups ? id : -1;
    const unsigned same = __match_any_sync(0xffffffffU, id);
    const int leader = __ffs(static_cast<int>(same)) - 1;
    const int last = 31 - __clz(static_cast<int>(same));
    const std::int64_t at = lane * p.found.groups + id;
    const int thread = static_cast<int>(threadIdx.x % kWarp);
    if (id >= 0 && thread == leader) {
        atomicMin(p.found.first + at, static_cast<Counter>(t));
        atomicAdd(p.found.rows + at, static_cast<Counter>(__popc(same)));
    }
    if (id >= 0 && thread == last) {
        atomicMax(p.found.end + at, static_cast<Counter>(t + 1));
    }
}

/// counter[lane, group] += rows.
__global__ __launch_bounds__(kThreads) void add_rows_kernel(GroupRows found,
                                                            LaneRows<std::int64_t> counter,
                                                            std::int64_t lanes) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i < lanes * found.groups) {
        counter.row(i / found.groups, 0)[i % found.groups] +=
            static_cast<std::int64_t>(found.rows[i]);
    }
}

/// kStageRows rows that a warp has fetched, N channels a thread. Rows of other groups hold what
/// changes nothing: 0 for a mean, else −∞.
template <class T, int N>
struct PoolRows {
    Raw<T, N> rows[kStageRows];

    /// Rows first, first + kFetchWarps, … before `end`.
    __device__ __forceinline__ void fetch(const PoolParams<T>& p,
                                          std::int64_t lane,
                                          std::int64_t id,
                                          std::int64_t first,
                                          std::int64_t end,
                                          std::int64_t channel) {
        float none[N];
#pragma unroll
        for (int i = 0; i < N; ++i) {
            none[i] = p.mode == ops::PoolMode::mean ? 0.0F : -INFINITY;
        }
#pragma unroll
        for (int i = 0; i < kStageRows; ++i) {
            const std::int64_t t = first + i * kFetchWarps;
            rows[i] = Pack<T, N>::pack(none);
            if (t < end && channel < p.width) {
                const Raw<T, N> row = load_raw<N>(p.x.row(lane, t) + channel);
                rows[i] = __ldg(p.group.row(lane, t)) == id ? row : rows[i];
            }
        }
    }
};

/// A stage's rows into the sums, from left to right. A NaN stays.
template <class T, int N>
__device__ __forceinline__ void add_stage(ops::PoolMode mode,
                                          const Raw<T, N> (&rows)[kStage][kWarp],
                                          double (&total)[N]) {
#pragma unroll 16
    for (int row = 0; row < kStage; ++row) {
        float x[N];
        Pack<T, N>::unpack(rows[row][threadIdx.x], x);
#pragma unroll
        for (int i = 0; i < N; ++i) {
            const auto value = static_cast<double>(x[i]);
            if (mode == ops::PoolMode::mean) {
                total[i] += value;
            } else {
                total[i] = value > total[i] || value != value ? value : total[i];
            }
        }
    }
}

/// A block has one group and N·32 channels of it. All warps but the first fetch its rows, a stage
/// ahead of the first, which adds them up; the two meet once a stage.
template <class T, int N>
__global__ __launch_bounds__(kThreads) void pool_forward_kernel(PoolParams<T> p) {
    __shared__ Raw<T, N> stages[2][kStage][kWarp];
    const std::int64_t at = blockIdx.x / p.slabs;
    const std::int64_t channel = (blockIdx.x % p.slabs * kWarp + threadIdx.x) * N;
    const auto end = static_cast<std::int64_t>(p.found.end[at]);
    if (end == 0) {
        return;
    }
    const std::int64_t lane = at / p.found.groups;
    const std::int64_t id = at % p.found.groups;
    // The last row of a group is its `last`; where it comes first, a maximum starts from nothing.
    const bool is_last = p.mode == ops::PoolMode::last;
    const bool is_fresh = is_last || p.count.row(lane, 0)[id] == 0;
    const auto first = is_last ? end - 1 : static_cast<std::int64_t>(p.found.first[at]);
    const bool is_chain = threadIdx.y == 0;
    const bool is_used = is_chain && channel < p.width;
    double* const sum = p.sum.row(lane, id) + channel;
    double total[N] = {};
#pragma unroll
    for (int i = 0; i < N && is_used; ++i) {
        const double nothing = p.mode == ops::PoolMode::mean ? sum[i] : -INFINITY;
        total[i] = is_fresh ? nothing : sum[i];
    }
    const std::int64_t mine = first + static_cast<int>(threadIdx.y) - 1;
    PoolRows<T, N> fetched;
    if (!is_chain) {
        fetched.fetch(p, lane, id, mine, end, channel);
    }
    int stage = 0;
    for (std::int64_t t = first; t < end; t += kStage, stage = 1 - stage) {
#pragma unroll
        for (int i = 0; i < kStageRows && !is_chain; ++i) {
            stages[stage][threadIdx.y - 1 + i * kFetchWarps][threadIdx.x] = fetched.rows[i];
        }
        __syncthreads();
        if (is_chain) {
            add_stage<T, N>(p.mode, stages[stage], total);
        } else {
            fetched.fetch(p, lane, id, mine + (t - first) + kStage, end, channel);
        }
    }
#pragma unroll
    for (int i = 0; i < N && is_used; ++i) {
        sum[i] = total[i];
    }
}

template <class T, int N>
__global__ __launch_bounds__(kThreads) void pool_backward_kernel(PoolGradParams<T> p) {
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t first = static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kRows;
    const std::int64_t channel = (static_cast<std::int64_t>(blockIdx.y) * kWarp + threadIdx.x) * N;
    if (channel >= p.width) {
        return;
    }
    const std::int64_t end = min(first + kRows, p.length);
    for (std::int64_t t = first + threadIdx.y; t < end; t += kWarps) {
        const std::int64_t id = __ldg(p.group.row(lane, t));
        float out[N] = {};
        if (id >= 0 && id < p.found.groups) {
            float x[N];
            load<N>(p.x.row(lane, t) + channel, x);
            const double* const sum = p.sum.row(lane, id) + channel;
            const float* const dy = p.dy.row(lane, id) + channel;
            const auto count = static_cast<double>(p.count.row(lane, 0)[id]);
            const bool is_last =
                p.found.end[lane * p.found.groups + id] == static_cast<Counter>(t + 1) &&
                p.pending.row(lane, 0)[id] == 0;
#pragma unroll
            for (int i = 0; i < N; ++i) {
                if (p.mode == ops::PoolMode::mean) {
                    out[i] = static_cast<float>(static_cast<double>(dy[i]) / count);
                } else if (p.mode == ops::PoolMode::max) {
                    out[i] = static_cast<double>(x[i]) == sum[i] ? dy[i] : 0.0F;
                } else {
                    out[i] = is_last ? dy[i] : 0.0F;
                }
            }
        }
        store(p.dx.row(lane, t) + channel, out);
    }
}

/// Takes its results from step memory.
GroupRows find_groups(ops::Context& context, const ConstTensorView& group, std::int64_t groups) {
    const std::int64_t lanes = group.extent(0);
    const TensorView all = context.step.take(DType::i64, {3, lanes, groups});
    auto* const data = static_cast<Counter*>(all.data());
    GroupParams p{};
    p.group = lane_rows<const std::int32_t>(group);
    p.found = {data, data + lanes * groups, data + 2 * lanes * groups, groups};
    p.length = group.extent(1);
    p.lane_blocks = grid_size(ceil_div(p.length, kThreads));
    const cudaStream_t stream = stream_of(context);
    const auto bytes = static_cast<std::size_t>(lanes * groups) * sizeof(Counter);
    MAMBASE_CUDA_TRY(cudaMemsetAsync(p.found.first, 0xff, bytes, stream));
    MAMBASE_CUDA_TRY(cudaMemsetAsync(p.found.end, 0, 2 * bytes, stream));
    find_groups_kernel<<<grid_size(lanes * p.lane_blocks), kThreads, 0, stream>>>(p);
    check_launch("pool", stream);
    return p.found;
}

void add_rows(const GroupRows& found, const TensorView& counter, cudaStream_t stream) {
    const std::int64_t lanes = counter.extent(0);
    add_rows_kernel<<<grid_size(ceil_div(lanes * found.groups, kThreads)), kThreads, 0, stream>>>(
        found, lane_rows<std::int64_t>(counter), lanes);
    check_launch("pool", stream);
}

template <class T, int N>
void launch_forward(const ops::Pool& op, const GroupRows& found, cudaStream_t stream) {
    PoolParams<T> p{};
    p.x = lane_rows<const T>(op.x);
    p.group = lane_rows<const std::int32_t>(op.group);
    p.found = found;
    p.sum = lane_rows<double>(op.sum);
    p.count = lane_rows<const std::int64_t>(op.count);
    p.mode = op.mode;
    p.width = op.x.extent(2);
    p.slabs = grid_size(ceil_div(p.width, kWarp * N));
    const unsigned blocks = grid_size(op.x.extent(0) * found.groups * p.slabs);
    pool_forward_kernel<T, N><<<blocks, dim3(kWarp, kWarps), 0, stream>>>(p);
    check_launch("pool", stream);
}

template <class T, int N>
void launch_backward(const ops::PoolGrad& op, const GroupRows& found, cudaStream_t stream) {
    PoolGradParams<T> p{};
    p.x = lane_rows<const T>(op.x);
    p.group = lane_rows<const std::int32_t>(op.group);
    p.found = found;
    p.sum = lane_rows<const double>(op.sum);
    p.count = lane_rows<const std::int64_t>(op.count);
    p.pending = lane_rows<const std::int64_t>(op.pending);
    p.dy = lane_rows<const float>(op.dy);
    p.dx = lane_rows<T>(op.dx);
    p.mode = op.mode;
    p.length = op.x.extent(1);
    p.width = op.x.extent(2);
    p.lane_blocks = grid_size(ceil_div(p.length, kRows));
    const dim3 grid(grid_size(op.x.extent(0) * p.lane_blocks),
                    grid_size(ceil_div(p.width, kWarp * N)));
    pool_backward_kernel<T, N><<<grid, dim3(kWarp, kWarps), 0, stream>>>(p);
    check_launch("pool backward", stream);
}

/// A thread has one value; blocks of one lane and group.
__global__ __launch_bounds__(kThreads) void pool_values_kernel(PoolValuesParams p) {
    const std::int64_t lane = blockIdx.x / p.groups;
    const std::int64_t id = blockIdx.x % p.groups;
    const std::int64_t channel = std::int64_t{blockIdx.y} * kThreads + threadIdx.x;
    if (channel < p.width) {
        const std::int64_t rows = *p.count.row(lane, id);
        const double sum = p.sum.row(lane, id)[channel];
        const double value = p.mode == ops::PoolMode::mean ? sum / static_cast<double>(rows) : sum;
        p.y.row(lane, id)[channel] = rows > 0 ? static_cast<float>(value) : 0.0F;
    }
}

}  // namespace

// 2^20 × 256 bf16 in groups of 1,000: 0.54 GB, 0.18 ms at 3 TB/s; predicted 0.25. A group's rows
// are one chain of f64 additions: one group of 2^20 rows 6 ms and more, predicted 8.
void pool_forward(ops::Context& context, const ops::Pool& op) {
    if (op.x.count() == 0 || op.sum.count() == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    const GroupRows found = find_groups(context, op.group, op.sum.extent(1));
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        constexpr int kVector = 4 / static_cast<int>(sizeof(T));
        if (takes_vectors(op.x, kVector)) {
            launch_forward<T, kVector>(op, found, stream);
        } else {
            launch_forward<T, 1>(op, found, stream);
        }
    });
    add_rows(found, op.count, stream);
}

void pool_values(ops::Context& context, const ops::PoolValues& op) {
    if (op.y.count() == 0) {
        return;
    }
    const cudaStream_t stream = stream_of(context);
    const std::int64_t groups = op.sum.extent(1);
    const std::int64_t width = op.sum.extent(2);
    const PoolValuesParams p{lane_rows<const double>(op.sum),
                             lane_rows<const std::int64_t>(op.count),
                             lane_rows<float>(op.y),
                             op.mode,
                             groups,
                             width};
    const dim3 grid(grid_size(op.sum.extent(0) * groups), grid_size(ceil_div(width, kThreads)));
    pool_values_kernel<<<grid, kThreads, 0, stream>>>(p);
    check_launch("pool values", stream);
}

void pool_backward(ops::Context& context, const ops::PoolGrad& op) {
    if (op.x.count() == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    const std::int64_t groups = op.sum.extent(1);
    const GroupRows found = find_groups(context, op.group, groups);
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        if (takes_vectors(op.x, 2) && takes_vectors(op.dx, 2)) {
            launch_backward<T, 2>(op, found, stream);
        } else {
            launch_backward<T, 1>(op, found, stream);
        }
    });
    if (groups > 0) {
        add_rows(found, op.pending, stream);
    }
}

}  // namespace mambase::cuda
