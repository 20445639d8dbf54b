#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/ops/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace mambase::cuda {

namespace {

constexpr int kThreads = 256;
constexpr std::size_t kParts = 64;  // of one launch, whose arguments have 4 KB

struct AdamWPart {
    float* param;
    float* m;
    float* v;
    const double* grad;
    std::int64_t count;
    double weight_decay;
    std::int64_t first_block;
};

struct AdamWParams {
    AdamWPart parts[kParts];
    int count;
    double grad_scale, lr, beta1, beta2, eps;
    double correction1, correction2;  // 1 − β^step
};
static_assert(sizeof(AdamWParams) <= 4096);

/// Blocks in a row are one part's, one part after the other.
__global__ __launch_bounds__(kThreads) void adamw_kernel(const __grid_constant__ AdamWParams p) {
    const std::int64_t block = blockIdx.x;
    int at = 0;
    for (int end = p.count; end - at > 1;) {
        const int middle = (at + end) / 2;
        (block < p.parts[middle].first_block ? end : at) = middle;
    }
    const AdamWPart& part = p.parts[at];
    const std::int64_t i = (block - part.first_block) * kThreads + threadIdx.x;
    if (i >= part.count) {
        return;
    }
    const double g = part.grad[i] * p.grad_scale;
    const double m = p.beta1 * static_cast<double>(part.m[i]) + (1.0 - p.beta1) * g;
    const double v = p.beta2 * static_cast<double>(part.v[i]) + (1.0 - p.beta2) * g * g;
    part.m[i] = static_cast<float>(m);
    part.v[i] = static_cast<float>(v);
    const auto param = static_cast<double>(part.param[i]);
    const double change = m / p.correction1 / (sqrt(v / p.correction2) + p.eps);
    part.param[i] = static_cast<float>(param - p.lr * (change + part.weight_decay * param));
}

}  // namespace

void adamw(ops::Context& context, const ops::AdamW& op) {
    AdamWParams p{};
    p.grad_scale = op.grad_scale;
    p.lr = op.lr;
    p.beta1 = op.beta1;
    p.beta2 = op.beta2;
    p.eps = op.eps;
    p.correction1 = 1.0 - std::pow(op.beta1, static_cast<double>(op.step));
    p.correction2 = 1.0 - std::pow(op.beta2, static_cast<double>(op.step));
    const cudaStream_t stream = stream_of(context);
    for (std::size_t first = 0; first < op.parts.size(); first += kParts) {
        const std::size_t end = std::min(first + kParts, op.parts.size());
        std::int64_t blocks = 0;
        for (std::size_t i = first; i < end; ++i) {
            const ops::AdamW::Part& part = op.parts[i];
            p.parts[i - first] = {static_cast<float*>(part.param.data()),
                                  static_cast<float*>(part.m.data()),
                                  static_cast<float*>(part.v.data()),
                                  static_cast<const double*>(part.grad.data()),
                                  part.param.count(),
                                  part.weight_decay,
                                  blocks};
            blocks += ceil_div(part.param.count(), kThreads);
        }
        p.count = static_cast<int>(end - first);
        if (blocks > 0) {
            adamw_kernel<<<grid_size(blocks), kThreads, 0, stream>>>(p);
            check_launch("adamw", stream);
        }
    }
}

}  // namespace mambase::cuda
