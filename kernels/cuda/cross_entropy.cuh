// Cross-entropy, a thread a row: the loss in double precision, the gradient in f32.
#pragma once

#include "kernels/cuda/device/rows.cuh"

namespace mambase::cuda {

constexpr int kLossThreads = 256;  // rows of a block
constexpr int kMaxVocabulary = 256;

struct CrossEntropyParams {
    LaneRows<const float> logits;
    LaneRows<const std::uint8_t> targets;
    LaneRows<const float> weight;  // may be absent
    const std::uint8_t* support;   // [support_size] or null
    std::int64_t support_size;
    LaneRows<double> loss;        // may be absent
    LaneRows<std::uint8_t> best;  // may be absent
    double* sums;                 // [B, blocks of a lane] Σ weight·loss, or null
    std::int64_t length;
    int vocabulary;
    unsigned lane_blocks;
};

template <class T>
struct CrossEntropyGradParams {
    LaneRows<const float> logits;  // may be dlogits
    LaneRows<const std::uint8_t> targets;
    LaneRows<const float> weight;  // may be absent
    LaneRows<T> dlogits;
    double scale;
    const double* scale_there;  // [1] or null
    std::int64_t length;
    int vocabulary;
    unsigned lane_blocks;
};

/// The ids that take part, one bit each.
class AllowedIds {
  public:
    /// By all threads of the block.
    __device__ void fill(const CrossEntropyParams& p) {
        for (int i = static_cast<int>(threadIdx.x); i < kMaxVocabulary / 32; i += kLossThreads) {
            bits_[i] = p.support == nullptr ? 0xffffffffU : 0U;
        }
        __syncthreads();
        if (p.support != nullptr) {
            for (std::int64_t i = threadIdx.x; i < p.support_size; i += kLossThreads) {
                atomicOr(&bits_[p.support[i] / 32], 1U << p.support[i] % 32);
            }
        }
        __syncthreads();
    }
    __device__ bool has(int id) const { return (bits_[id / 32] >> id % 32 & 1U) != 0; }

  private:
    unsigned bits_[kMaxVocabulary / 32];
};

/// The logits of one row: in registers for a vocabulary of Fixed ids, else (0) where they lie.
template <int Fixed>
struct RowLogits {
    float values[Fixed];
    __device__ __forceinline__ RowLogits(const float* row, int /*vocabulary*/) {
#pragma unroll
        for (int j = 0; j < Fixed; j += 4) {
            float four[4];
            load_own(row + j, four);
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                values[j + i] = four[i];
            }
        }
    }
    __device__ __forceinline__ int count() const {
        return Fixed;
    }
    __device__ __forceinline__ float operator[](int j) const {
        return values[j];
    }
};
template <>
struct RowLogits<0> {
    const float* row;
    int vocabulary;
    __device__ __forceinline__ RowLogits(const float* at, int size) : row(at), vocabulary(size) {}
    __device__ __forceinline__ int count() const { return vocabulary; }
    __device__ __forceinline__ float operator[](int j) const { return row[j]; }
};

/// −log softmax over the allowed ids. A target that is not among them cannot throw from here: the
/// loss is NaN.
template <int Fixed>
__device__ __forceinline__ double row_loss(const RowLogits<Fixed>& logits,
                                           const float* row,
                                           const AllowedIds& allowed,
                                           int target) {
    float largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < logits.count(); ++j) {
        largest = allowed.has(j) ? fmaxf(largest, logits[j]) : largest;
    }
    double sum = 0.0;
#pragma unroll
    for (int j = 0; j < logits.count(); ++j) {
        if (allowed.has(j)) {
            sum += exp(static_cast<double>(logits[j]) - static_cast<double>(largest));
        }
    }
    if (target >= logits.count() || !allowed.has(target)) {
        return NAN;
    }
    return log(sum) - (static_cast<double>(row[target]) - static_cast<double>(largest));
}

/// The most likely id, the first of equals.
template <int Fixed>
__device__ __forceinline__ int row_best(const RowLogits<Fixed>& logits, const AllowedIds& allowed) {
    int best = -1;
    float largest = 0.0F;
#pragma unroll
    for (int j = 0; j < logits.count(); ++j) {
        if (allowed.has(j) && (best < 0 || logits[j] > largest)) {
            best = j;
            largest = logits[j];
        }
    }
    return best;
}

template <int Fixed>
__global__ __launch_bounds__(kLossThreads) void cross_entropy_forward_kernel(CrossEntropyParams p) {
    __shared__ AllowedIds allowed;
    allowed.fill(p);
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t t =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kLossThreads + threadIdx.x;
    double term = 0.0;
    if (t < p.length) {
        const float* const row = p.logits.row(lane, t);
        const RowLogits<Fixed> logits(row, p.vocabulary);
        if (p.best) {
            *p.best.row(lane, t) = static_cast<std::uint8_t>(row_best(logits, allowed));
        }
        const float weight = p.weight ? *p.weight.row(lane, t) : 1.0F;
        double loss = 0.0;
        if (weight != 0.0F) {
            loss = row_loss(logits, row, allowed, *p.targets.row(lane, t));
            term = static_cast<double>(weight) * loss;
        }
        if (p.loss) {
            *p.loss.row(lane, t) = loss;
        }
    }
    if (p.sums != nullptr) {
        term = block_sum<kLossThreads>(term);
        if (threadIdx.x == 0) {
            p.sums[blockIdx.x] = term;
        }
    }
}

/// loss_sum[lane] += the lane's sums: those of TileBlocks blocks are added first, from left to
/// right, then the tiles, from left to right. One block a lane.
template <int TileBlocks>
__global__ __launch_bounds__(kLossThreads) void cross_entropy_sum_kernel(const double* sums,
                                                                         double* loss_sum,
                                                                         unsigned lane_blocks) {
    __shared__ double tiles[kLossThreads];
    const double* const from = sums + static_cast<std::int64_t>(blockIdx.x) * lane_blocks;
    double total = threadIdx.x == 0 ? loss_sum[blockIdx.x] : 0.0;
    for (unsigned first = 0; first < lane_blocks; first += kLossThreads * TileBlocks) {
        const unsigned lo = first + threadIdx.x * TileBlocks;
        double sum = 0.0;
        for (unsigned i = lo; i < min(lo + TileBlocks, lane_blocks); ++i) {
            sum += from[i];
        }
        tiles[threadIdx.x] = sum;
        __syncthreads();
        if (threadIdx.x == 0) {
            for (unsigned i = 0; i < kLossThreads && first + i * TileBlocks < lane_blocks; ++i) {
                total += tiles[i];
            }
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        loss_sum[blockIdx.x] = total;
    }
}

/// scale·weight·(softmax − onehot). The gradient of a target past the vocabulary is NaN.
template <class T, int Fixed>
__global__ __launch_bounds__(kLossThreads) void cross_entropy_backward_kernel(
    CrossEntropyGradParams<T> p) {
    const std::int64_t lane = blockIdx.x / p.lane_blocks;
    const std::int64_t t =
        static_cast<std::int64_t>(blockIdx.x % p.lane_blocks) * kLossThreads + threadIdx.x;
    if (t >= p.length) {
        return;
    }
    const float weight = p.weight ? *p.weight.row(lane, t) : 1.0F;
    const bool counts = weight != 0.0F;
    const int target = *p.targets.row(lane, t);
    const RowLogits<Fixed> logits(p.logits.row(lane, t), p.vocabulary);
    const int count = logits.count();
    float largest = -INFINITY;
#pragma unroll
    for (int j = 0; j < count; ++j) {
        largest = fmaxf(largest, logits[j]);
    }
    float sum = 0.0F;
#pragma unroll
    for (int j = 0; j < count; ++j) {
        sum += expf(logits[j] - largest);
    }
    const double scale = p.scale_there ? p.scale * *p.scale_there : p.scale;
    const float factor = target < count ? static_cast<float>(scale * weight) : NAN;
    const float inverse = 1.0F / sum;
    const auto gradient = [&](int j) {
        const float share = expf(logits[j] - largest) * inverse - (j == target ? 1.0F : 0.0F);
        return counts ? factor * share : 0.0F;
    };
    T* const out = p.dlogits.row(lane, t);
    if constexpr (Fixed > 0) {
#pragma unroll
        for (int j = 0; j < Fixed; j += 4) {
            const float four[4] = {gradient(j), gradient(j + 1), gradient(j + 2), gradient(j + 3)};
            store(out + j, four);
        }
    } else {
        for (int j = 0; j < count; ++j) {
            out[j] = from_float<T>(gradient(j));
        }
    }
}

}  // namespace mambase::cuda
