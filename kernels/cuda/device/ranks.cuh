// Channels in the order in which they forget.
#pragma once

namespace mambase::cuda {

/// order[r]: the channel of rank r by key, equals in their order; `key` [channels] is given their
/// copy. By all threads of a block; both arrays in shared memory, ready when it returns.
__device__ __forceinline__ void rank_channels(const float* from,
                                              int channels,
                                              float* key,
                                              short* order) {
    const int thread = static_cast<int>(threadIdx.x);
    const int threads = static_cast<int>(blockDim.x);
    for (int i = thread; i < channels; i += threads) {
        key[i] = from[i];
    }
    __syncthreads();
    for (int i = thread; i < channels; i += threads) {
        int rank = 0;
        const float own = key[i];
        for (int j = 0; j < channels; ++j) {
            rank += key[j] < own || (key[j] == own && j < i) ? 1 : 0;
        }
        order[rank] = static_cast<short>(i);
    }
    __syncthreads();
}

/// The rank that one of `threads` takes as its first or second channel: its own of the slow half,
/// and of the fast half the mirrored warp's, so that no warp has much more to do than another.
__device__ __forceinline__ int paired_rank(int k, int thread, int threads) {
    return k == 0 ? thread : (2 * (threads / 32) - 1 - thread / 32) * 32 + thread % 32;
}

}  // namespace mambase::cuda
