#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/cuda/selective_scan_launch.cuh"
#include "kernels/ops/selective_scan.hpp"

#include <algorithm>
#include <cstdint>

namespace mambase::cuda {

namespace {

constexpr const char* kName = "selective_scan";
static_assert(kScanTile == kRunTile);

template <class T>
Rows<const T> rows_of(const ConstTensorView& view) {
    return {static_cast<const T*>(view.data()), view.stride(0), view.stride(1)};
}

template <class T>
ScanParams<T> params_of(const ops::SelectiveScan& op) {
    constexpr std::int64_t kWide = 16 / static_cast<std::int64_t>(sizeof(T));
    ScanParams<T> p{};
    p.x = rows_of<T>(op.x);
    p.dt_raw = rows_of<T>(op.dt_raw);
    p.z = op.z ? rows_of<T>(op.z) : Rows<const T>{};
    p.b = rows_of<T>(op.b);
    p.c = rows_of<T>(op.c);
    p.y = {static_cast<T*>(op.y.data()), op.y.stride(0), op.y.stride(1)};
    p.a_log = static_cast<const float*>(op.a_log.data());
    p.d = static_cast<const float*>(op.d.data());
    p.dt_bias = static_cast<const float*>(op.dt_bias.data());
    p.segment = static_cast<const std::int32_t*>(op.segment.data());
    p.segment_stride = op.segment ? op.segment.stride(0) : 0;
    p.valid = static_cast<const std::int64_t*>(op.valid.data());
    p.state_in = static_cast<const float*>(op.state_in.data());
    p.state_out = static_cast<float*>(op.state_out.data());
    p.kept = static_cast<float*>(op.saved.data());
    p.batch = static_cast<int>(op.x.extent(0));
    p.length = op.x.extent(1);
    p.inner = static_cast<int>(op.x.extent(2));
    p.states = static_cast<int>(op.a_log.extent(1));
    // A length of none still passes the state on.
    p.tile = op.for_training ? kTrainingScanTile : kScanTile;
    p.tiles = static_cast<int>(std::max(std::int64_t{1}, ceil_div(p.length, p.tile)));
    p.wide_rows =
        takes_vectors(op.x, kWide) && takes_vectors(op.dt_raw, kWide) && takes_vectors(op.z, kWide);
    p.wide_states = (p.states == kScanStates || p.states == kScanManyStates) &&
                    takes_vectors(op.b, kWide) && takes_vectors(op.c, kWide);
    return p;
}

/// Whether one channel a thread is the better choice, or the only one: pairs halve the reads of b
/// and c, but where there are too few to give every scheduler a warp, the time is that of one warp.
bool takes_single_channels(const ops::SelectiveScan& op, int tiles, int multiprocessors) {
    constexpr int kSchedulers = 4;  // of a multiprocessor
    const std::int64_t pairs =
        scan_blocks<2>(op.x.extent(0), tiles, static_cast<int>(op.x.extent(2)));
    return !takes_vectors(op.y, 2) || 2 * pairs <= std::int64_t{kSchedulers} * multiprocessors;
}

template <int N, class T>
void launch(ops::Context& context, const ops::SelectiveScan& op, ScanParams<T> p) {
    const StepMemory::Scope scope(context.step);
    const cudaStream_t stream = stream_of(context);
    if (ended_tiles(p) > 0) {
        const auto take = [&](const Shape& shape) {
            return static_cast<float*>(context.step.take(DType::f32, shape).data());
        };
        const std::int64_t batch = op.x.extent(0);
        const std::int64_t inner = op.x.extent(2);
        p.tile_state = op.starts ? static_cast<float*>(op.starts.data())
                                 : take({batch, p.tiles, inner, op.a_log.extent(1)});
        if (!op.has_starts) {
            p.tile_delta = take({batch, p.tiles, inner});
            launch_scan_ends<N>(p, stream);
            check_launch(kName, stream);
            launch_scan_combine(p, stream);
            check_launch(kName, stream);
        }
    }
    if constexpr (N == kScanStates) {
        if (takes_single_channels(op, p.tiles, queue_of(context).multiprocessors())) {
            launch_scan_tiles<N, 1>(p, stream);
        } else {
            launch_scan_tiles<N, 2>(p, stream);
        }
    } else {
        launch_scan_tiles<N, 1>(p, stream);
    }
    check_launch(kName, stream);
}

}  // namespace

std::int64_t selective_scan_saved_bytes(std::int64_t batch,
                                        std::int64_t length,
                                        std::int64_t inner,
                                        std::int64_t state) {
    const std::int64_t states = kept_states_of(static_cast<int>(state));
    return checked_mul(checked_mul(batch, ceil_div(length, kKept)),
                       checked_mul(checked_mul(inner, states), sizeof(float)));
}

std::int64_t selective_scan_starts_bytes(std::int64_t batch,
                                         std::int64_t length,
                                         std::int64_t inner,
                                         std::int64_t state) {
    return checked_mul(checked_mul(batch, ceil_div(length, kTrainingScanTile)),
                       checked_mul(checked_mul(inner, state), sizeof(float)));
}

void selective_scan_forward(ops::Context& context, const ops::SelectiveScan& op) {
    const std::int64_t states = op.a_log.extent(1);
    MAMBASE_REQUIRE(states <= kScanManyStates, ErrorCode::unsupported,
                    concat(kName, " on CUDA: ", states, " states; at most ", kScanManyStates));
    if (op.x.extent(0) == 0 || op.x.extent(2) == 0) {
        return;
    }
    with_activation_type(op.x.dtype(), [&](auto element) {
        using T = decltype(element);
        if (states <= kScanStates) {
            launch<kScanStates>(context, op, params_of<T>(op));
        } else {
            launch<kScanManyStates>(context, op, params_of<T>(op));
        }
    });
}

}  // namespace mambase::cuda
