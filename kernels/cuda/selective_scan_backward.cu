#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/selective_scan_backward.cuh"
#include "kernels/cuda/selective_scan_carry.cuh"
#include "kernels/cuda/selective_scan_sums.cuh"
#include "kernels/cuda/tile_sums.hpp"
#include "kernels/ops/selective_scan.hpp"

namespace mambase::cuda {

namespace {

constexpr const char* kName = "selective_scan backward";

float* take_floats(ops::Context& context, std::int64_t count) {
    return static_cast<float*>(context.step.take(DType::f32, {count}).data());
}

template <class T>
ScanGradParams<T> grad_params(const ops::SelectiveScanGrad& op) {
    ScanGradParams<T> p{};
    p.x = lane_rows<const T>(op.x);
    p.dt_raw = lane_rows<const T>(op.dt_raw);
    p.z = lane_rows<const T>(op.z);
    p.b = lane_rows<const T>(op.b);
    p.c = lane_rows<const T>(op.c);
    p.dy = lane_rows<const T>(op.dy);
    p.dx = lane_rows<T>(op.dx);
    p.ddt_raw = lane_rows<T>(op.ddt_raw);
    p.dz = lane_rows<T>(op.dz);
    p.a_log = static_cast<const float*>(op.a_log.data());
    p.d = static_cast<const float*>(op.d.data());
    p.dt_bias = static_cast<const float*>(op.dt_bias.data());
    p.segment = static_cast<const std::int32_t*>(op.segment.data());
    p.segment_stride = op.segment.stride(0);
    p.valid = static_cast<const std::int64_t*>(op.valid.data());
    p.kept = static_cast<const float*>(op.saved.data());
    p.dstate_out = static_cast<const float*>(op.dstate_out.data());
    p.dstate_in = static_cast<float*>(op.dstate_in.data());
    p.length = op.x.extent(1);
    p.stages = ceil_div(p.length, std::int64_t{kBackStage});
    p.batch = static_cast<int>(op.x.extent(0));
    p.inner = static_cast<int>(op.x.extent(2));
    p.states = static_cast<int>(op.a_log.extent(1));
    p.tile = back_tile(p.length, op.for_training);
    p.tiles = static_cast<int>(ceil_div(p.length, std::int64_t{p.tile}));
    p.first_carry_tile = op.dstate_in ? 0 : 1;
    p.windows = ceil_div(p.inner, kBackChannels);
    p.kept_states = kept_states_of(p.states);
    return p;
}

bool has_wide_rows(const ops::SelectiveScanGrad& op) {
    const ConstTensorView rows[] = {op.x,  op.dt_raw, op.z,       op.b, op.c,
                                    op.dy, op.dx,     op.ddt_raw, op.dz};
    bool wide = op.a_log.extent(1) == kBackStates;
    for (const ConstTensorView& view : rows) {
        wide = wide && takes_vectors(view, 8);
    }
    return wide;
}

template <class Kernel>
void allow_shared(Kernel kernel, std::size_t bytes) {
    MAMBASE_CUDA_TRY(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                          static_cast<int>(bytes)));
}

/// The gradient of the state after each tile; in `tile_dstate`.
template <class T, bool kWide>
void launch_carry(ops::Context& context, ScanGradParams<T>& p) {
    if (p.tiles <= 1 && p.dstate_in == nullptr) {
        p.tile_dstate = const_cast<float*>(p.dstate_out);  // read only
        return;
    }
    const cudaStream_t stream = stream_of(context);
    const std::int64_t lane_tiles = std::int64_t{p.batch} * p.tiles;
    p.tile_dstate = take_floats(context, checked_mul(lane_tiles, std::int64_t{p.inner} * p.states));
    p.tile_delta = take_floats(context, lane_tiles * p.inner);
    const std::int64_t carried = std::int64_t{p.batch} * (p.tiles - p.first_carry_tile);
    if (carried > 0) {
        launch_scan_carry<T, kWide>(p, queue_of(context).multiprocessors(), stream);
        check_launch(kName, stream);
    }
    const std::int64_t states = std::int64_t{p.batch} * p.inner * p.states;
    selective_scan_combine_carry_kernel<T>
        <<<grid_size(ceil_div(states, std::int64_t{256})), 256, 0, stream>>>(p);
    check_launch(kName, stream);
}

/// The sums of one of the parameters' gradients over tiles, [B,tiles,count].
void add_tiles(const float* parts,
               const ops::SelectiveScanGrad& op,
               int tile,
               std::int64_t tiles,
               std::int64_t count,
               const TensorView& out,
               const TensorView& rest,
               cudaStream_t stream) {
    PartSums sums{};
    sums.parts = parts;
    sums.lanes = op.x.extent(0);
    sums.lane_parts = tiles;
    sums.rows = tile;
    sums.count = count;
    sums.out = static_cast<double*>(out.data());
    sums.split = out.count();
    sums.rest = static_cast<double*>(rest.data());
    add_part_sums(kName, sums, stream);
}

template <class T, bool kWide>
void launch(ops::Context& context, const ops::SelectiveScanGrad& op) {
    const cudaStream_t stream = stream_of(context);
    ScanGradParams<T> p = grad_params<T>(op);
    launch_carry<T, kWide>(context, p);
    if (p.length == 0) {
        return;
    }
    const std::int64_t lane_tiles = std::int64_t{p.batch} * p.tiles;
    const std::int64_t states = std::int64_t{p.inner} * p.states;
    const std::int64_t lane_stages = p.batch * p.stages;
    p.bc_parts = take_floats(
        context, checked_mul(p.windows * lane_stages, std::int64_t{2} * kBackStates * kBackStage));
    p.a_parts = take_floats(context, checked_mul(lane_tiles, states));
    p.de_parts = take_floats(context, checked_mul(lane_tiles, std::int64_t{2} * p.inner));
    if (p.states > kBackStates) {
        p.state_sums =
            take_floats(context, checked_mul(p.batch * p.length, std::int64_t{3} * p.inner));
    }
    constexpr std::size_t kBytes = sizeof(BackShared<T>);
    const auto kernel = selective_scan_backward_kernel<T, kWide>;
    allow_shared(kernel, kBytes);
    for (p.first_state = 0; p.first_state < p.states; p.first_state += kBackStates) {
        kernel<<<grid_size(lane_tiles * p.windows), kBackThreads, kBytes, stream>>>(p);
        check_launch(kName, stream);
        selective_scan_sum_bc_kernel<T><<<grid_size(lane_stages), 128, 0, stream>>>(
            p, lane_rows<T>(op.db), lane_rows<T>(op.dc));
        check_launch(kName, stream);
    }
    add_tiles(p.a_parts, op, p.tile, p.tiles, states, op.da_log, {}, stream);
    add_tiles(p.de_parts, op, p.tile, p.tiles, std::int64_t{2} * p.inner, op.dd, op.ddt_bias,
              stream);
}

}  // namespace

/// The parts of db and dc of each window of channels, and each tile's carry and sums.
std::int64_t selective_scan_backward_scratch_bytes(std::int64_t batch,
                                                   std::int64_t length,
                                                   std::int64_t inner,
                                                   std::int64_t state) {
    const std::int64_t tiles = checked_mul(batch, ceil_div(length, std::int64_t{kShortBackTile}));
    const std::int64_t stages = checked_mul(batch, ceil_div(length, std::int64_t{kBackStage}));
    const std::int64_t windows = ceil_div(inner, std::int64_t{kBackChannels});
    const std::int64_t parts =
        checked_mul(windows * stages, std::int64_t{2} * kBackStates * kBackStage);
    const std::int64_t sums = checked_mul(tiles, inner * (2 * state + 3));
    const std::int64_t of_states =
        state > kBackStates ? checked_mul(checked_mul(batch, length), 3 * inner) : 0;
    return size_of(DType::f32) * checked_add(parts, checked_add(sums, of_states));
}

void selective_scan_backward(ops::Context& context, const ops::SelectiveScanGrad& op) {
    if (op.x.extent(0) == 0 || op.x.extent(2) == 0) {
        return;
    }
    const StepMemory::Scope scope(context.step);
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        has_wide_rows(op) ? launch<T, true>(context, op) : launch<T, false>(context, op);
    });
}

}  // namespace mambase::cuda
