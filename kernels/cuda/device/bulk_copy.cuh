// Whole pieces of rows from global to shared memory by the copy engine of sm_90; older devices
// have none, and kHasBulkCopies is false there.
#pragma once

#include <cstdint>

namespace mambase::cuda {

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
constexpr bool kHasBulkCopies = true;
#else
constexpr bool kHasBulkCopies = false;
#endif

/// Counts the bytes of copies. One thread of the block sets it up, for as many arrivals a phase as
/// `arrivals`; others see it after a __syncthreads().
__device__ __forceinline__ void bulk_barrier_init(std::uint64_t* barrier, int arrivals) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(barrier));
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(address), "r"(arrivals) : "memory");
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}

/// What this thread has written to shared memory stands before what a copy writes after the next
/// __syncthreads().
__device__ __forceinline__ void bulk_fence() {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
#endif
}

/// One arrival at the phase, and `bytes` more for it to wait for.
__device__ __forceinline__ void bulk_expect(std::uint64_t* barrier, int bytes) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(barrier));
    asm volatile("mbarrier.arrive.expect_tx.shared.b64 _, [%0], %1;" ::"r"(address), "r"(bytes)
                 : "memory");
#endif
}

/// Addresses and `bytes` are multiples of 16.
__device__ __forceinline__ void bulk_copy(void* to,
                                          const void* from,
                                          int bytes,
                                          std::uint64_t* barrier) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    asm volatile(
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
            "r"(static_cast<unsigned>(__cvta_generic_to_shared(to))),
        "l"(from), "r"(bytes), "r"(static_cast<unsigned>(__cvta_generic_to_shared(barrier)))
        : "memory");
#endif
}

/// Waits for the end of the phase of that parity; the first phase has parity 0.
__device__ __forceinline__ void bulk_wait(std::uint64_t* barrier, int parity) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 900
    const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(barrier));
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
        "@!done bra again;\n"
        "}\n" ::"r"(address),
        "r"(parity)
        : "memory");
#endif
}

}  // namespace mambase::cuda
