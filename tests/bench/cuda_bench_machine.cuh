// A CUDA device with filled tensors, a count of differing values, and a clock.
#pragma once

#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/ops/context.hpp"
#include "kernels/ops/op_table.hpp"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

namespace mambase::bench {

__device__ float hash_uniform(std::uint64_t i, std::uint32_t seed) {
    std::uint64_t v = i * 0x9E3779B97F4A7C15ULL + seed * 0xD1B54A32D192ED03ULL;
    v ^= v >> 32;
    v *= 0xD6E8FEB86659FD93ULL;
    v ^= v >> 32;
    v *= 0xD6E8FEB86659FD93ULL;
    v ^= v >> 32;
    return static_cast<float>(v >> 40) * 0x1.0p-23F - 1.0F;
}

template <class T>
__global__ void fill_kernel(T* out, std::int64_t n, std::uint32_t seed) {
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
         i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
        out[i] = static_cast<T>(hash_uniform(i, seed));
    }
}

__global__ void differ_kernel(const std::uint16_t* a,
                              const std::uint16_t* b,
                              std::int64_t n,
                              unsigned long long* count) {
    for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < n;
         i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
        if (a[i] != b[i]) {
            atomicAdd(count, 1ULL);
        }
    }
}

struct Machine {
    cuda::CudaQueue queue{0};
    ThreadPool pool{1};
    StepMemory step{queue.memory()};
    StepMemory host{queue.host_memory()};
    ops::OpTable table = [] {
        ops::OpTable out{};
        out.name = "cuda";
        out.bf16 = true;
        out.linear_forward = cuda::linear_forward;
        out.linear_backward = cuda::linear_backward;
        return out;
    }();
    ops::Context context{table, pool, step, host, queue, DType::bf16};

    Tensor filled(DType type, const Shape& shape, std::uint32_t seed) {
        Tensor out(queue.memory(), type, shape, "bench");
        void* const data = out.view().data();
        const std::int64_t n = shape.count();
        if (type == DType::bf16) {
            fill_kernel<<<2048, 256, 0, queue.stream()>>>(static_cast<__nv_bfloat16*>(data), n,
                                                          seed);
        } else if (type == DType::f32) {
            fill_kernel<<<2048, 256, 0, queue.stream()>>>(static_cast<float*>(data), n, seed);
        } else {
            fill_kernel<<<2048, 256, 0, queue.stream()>>>(static_cast<double*>(data), n, seed);
        }
        return out;
    }

    std::vector<double> read(const Tensor& tensor) {
        const std::size_t n = static_cast<std::size_t>(tensor.shape().count());
        std::vector<char> bytes(static_cast<std::size_t>(tensor.bytes()));
        queue.copy_bytes(bytes.data(), tensor.view().data(), tensor.bytes());
        queue.wait();
        std::vector<double> out(n);
        for (std::size_t i = 0; i < n; ++i) {
            if (tensor.dtype() == DType::f64) {
                std::memcpy(&out[i], &bytes[8 * i], 8);
            } else if (tensor.dtype() == DType::f32) {
                float value = 0;
                std::memcpy(&value, &bytes[4 * i], 4);
                out[i] = value;
            } else {
                std::uint16_t value = 0;
                std::memcpy(&value, &bytes[2 * i], 2);
                const std::uint32_t wide = static_cast<std::uint32_t>(value) << 16;
                float number = 0;
                std::memcpy(&number, &wide, 4);
                out[i] = number;
            }
        }
        return out;
    }

    /// Two bytes at a time that differ between adjacent memory.
    unsigned long long differences(const void* a, const void* b, std::int64_t bytes) {
        Tensor count(queue.memory(), DType::i64, {1}, "bench");
        queue.zero_bytes(count.view().data(), 8);
        differ_kernel<<<2048, 256, 0, queue.stream()>>>(
            static_cast<const std::uint16_t*>(a), static_cast<const std::uint16_t*>(b), bytes / 2,
            static_cast<unsigned long long*>(count.view().data()));
        unsigned long long out = 0;
        queue.copy_bytes(&out, count.view().data(), 8);
        queue.wait();
        return out;
    }
    unsigned long long differences(const TensorView& a, const TensorView& b) {
        return differences(a.data(), b.data(), a.count() * size_of(a.dtype()));
    }

    double milliseconds(const std::function<void()>& call) {
        cudaEvent_t begin = nullptr;
        cudaEvent_t end = nullptr;
        MAMBASE_CUDA_TRY(cudaEventCreate(&begin));
        MAMBASE_CUDA_TRY(cudaEventCreate(&end));
        std::vector<float> times;
        for (int i = 0; i < 13; ++i) {
            MAMBASE_CUDA_TRY(cudaEventRecord(begin, queue.stream()));
            call();
            MAMBASE_CUDA_TRY(cudaEventRecord(end, queue.stream()));
            MAMBASE_CUDA_TRY(cudaEventSynchronize(end));
            float ms = 0;
            MAMBASE_CUDA_TRY(cudaEventElapsedTime(&ms, begin, end));
            if (i >= 3) {
                times.push_back(ms);
            }
        }
        cudaEventDestroy(begin);
        cudaEventDestroy(end);
        std::sort(times.begin(), times.end());
        return times[times.size() / 2];
    }
};

}  // namespace mambase::bench
