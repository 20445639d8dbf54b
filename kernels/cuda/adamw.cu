#include "base/checked_math.hpp"
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/cuda/cuda_queue.hpp"
#include "kernels/cuda/device/rows.cuh"
#include "kernels/ops/adamw.hpp"

#include <cmath>

namespace mambase::cuda {

namespace {

constexpr int kThreads = 256;

struct AdamWParams {
    float* param;
    float* m;
    float* v;
    const double* grad;
    std::int64_t count;
    double grad_scale, lr, beta1, beta2, eps, weight_decay;
    double correction1, correction2;  // 1 − β^step
};

__global__ __launch_bounds__(kThreads) void adamw_kernel(AdamWParams p) {
    const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * kThreads + threadIdx.x;
    if (i >= p.count) {
        return;
    }
    const double g = p.grad[i] * p.grad_scale;
    const double m = p.beta1 * static_cast<double>(p.m[i]) + (1.0 - p.beta1) * g;
    const double v = p.beta2 * static_cast<double>(p.v[i]) + (1.0 - p.beta2) * g * g;
    p.m[i] = static_cast<float>(m);
    p.v[i] = static_cast<float>(v);
    const auto param = static_cast<double>(p.param[i]);
    const double update = m / p.correction1 / (sqrt(v / p.correction2) + p.eps);
    p.param[i] = static_cast<float>(param - p.lr * (update + p.weight_decay * param));
}

}  // namespace

void adamw(ops::Context& context, const ops::AdamW& op) {
    AdamWParams p{};
    p.param = static_cast<float*>(op.param.data());
    p.m = static_cast<float*>(op.m.data());
    p.v = static_cast<float*>(op.v.data());
    p.grad = static_cast<const double*>(op.grad.data());
    p.count = op.param.count();
    p.grad_scale = op.grad_scale;
    p.lr = op.lr;
    p.beta1 = op.beta1;
    p.beta2 = op.beta2;
    p.eps = op.eps;
    p.weight_decay = op.weight_decay;
    p.correction1 = 1.0 - std::pow(op.beta1, static_cast<double>(op.step));
    p.correction2 = 1.0 - std::pow(op.beta2, static_cast<double>(op.step));
    if (p.count == 0) {
        return;
    }
    const cudaStream_t stream = stream_of(context);
    adamw_kernel<<<grid_size(ceil_div(p.count, kThreads)), kThreads, 0, stream>>>(p);
    check_launch("adamw", stream);
}

}  // namespace mambase::cuda
