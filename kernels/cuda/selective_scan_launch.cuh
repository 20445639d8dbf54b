// Launches of the forward selective scan: grids, and which instance of a kernel serves a call.
#pragma once

#include "kernels/cuda/selective_scan.cuh"
#include "kernels/cuda/selective_scan_ends.cuh"

#include <cstdint>

namespace mambase::cuda {

/// N of the kernels: this or kScanManyStates.
constexpr int kScanStates = 16;
constexpr int kScanManyStates = 64;

/// Pass 1: tiles' own end states. For ended_tiles() of at least one.
template <int N, class T>
void launch_scan_ends(const ScanParams<T>& p, cudaStream_t stream) {
    const int threads = end_threads<N>(p.inner);
    const int width = threads * end_channels<N>();
    const std::int64_t blocks =
        static_cast<std::int64_t>(ended_tiles(p)) * p.batch * ((p.inner + width - 1) / width);
    constexpr int kBytes = static_cast<int>(kEndRing * sizeof(EndStage<T, N>));
    const auto kernel = selective_scan_tile_end_kernel<T, N>;
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
    kernel<<<static_cast<unsigned>(blocks), static_cast<unsigned>(threads), kBytes, stream>>>(p);
}

/// Between the passes: end states to start states.
template <class T>
void launch_scan_combine(const ScanParams<T>& p, cudaStream_t stream) {
    const std::int64_t threads = static_cast<std::int64_t>(p.batch) * p.inner * p.states;
    const auto blocks = static_cast<unsigned>((threads + kCombineThreads - 1) / kCombineThreads);
    selective_scan_combine_kernel<T><<<blocks, kCombineThreads, 0, stream>>>(p);
}

/// Pass 2. Two channels a thread ask for an even E and for rows of y that pairs can be written to.
/// The bits are the same with one.
template <int N, int Channels, class T>
void launch_scan_tiles(const ScanParams<T>& p, cudaStream_t stream) {
    const auto kernel = [&] {
        if (p.segment != nullptr) {
            return p.kept != nullptr ? selective_scan_forward_kernel<T, N, Channels, true, true>
                                     : selective_scan_forward_kernel<T, N, Channels, true, false>;
        }
        return p.kept != nullptr ? selective_scan_forward_kernel<T, N, Channels, false, true>
                                 : selective_scan_forward_kernel<T, N, Channels, false, false>;
    }();
    const auto blocks = static_cast<unsigned>(scan_blocks<Channels>(p.batch, p.tiles, p.inner));
    kernel<<<blocks, 32, 0, stream>>>(p);
}

}  // namespace mambase::cuda
