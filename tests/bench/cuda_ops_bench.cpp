// Times of the CUDA ops that move memory, at the shapes of a model of width 256 over 2^20 positions
// in bf16, beside the fewest bytes that they can move. Usage: cuda_ops_bench [PREFIX of the ops to
// run]
#include "kernels/cuda/cuda_queue.hpp"
#include "tests/bench/gpu_lab.hpp"

#include <algorithm>
#include <cstdio>
#include <functional>
#include <string_view>
#include <vector>

#include <cuda_runtime_api.h>

using namespace mambase;
using namespace mambase::test;

namespace {

constexpr std::int64_t kWidth = 256;
constexpr std::int64_t kInner = 512;
constexpr std::int64_t kTokens = 16;

/// Memory filled with a repeated piece of random numbers, or of ids below `ids`.
Tensor spread(Gpu& gpu, DType dtype, const Shape& shape, std::int64_t ids = 0) {
    constexpr std::int64_t piece = std::int64_t{1} << 18;
    const Tensor values =
        ids > 0 ? random_ids(dtype, {piece}, ids, 1, 1) : normal_tensor({piece}, 1, 2);
    OnDevice source(gpu, values, dtype);
    Tensor out(gpu.queue->memory(), dtype, shape, "bench");
    const std::int64_t bytes = size_of(dtype);
    for (std::int64_t at = 0; at < shape.count(); at += piece) {
        gpu.queue->copy_bytes(static_cast<char*>(out.view().data()) + at * bytes,
                              source.view().data(), std::min(piece, shape.count() - at) * bytes);
    }
    gpu.queue->wait();
    return out;
}

/// Median milliseconds of twelve runs after three.
double median_ms(Gpu& gpu, const std::function<void()>& run) {
    const cudaStream_t stream = cuda::stream_of(gpu.context);
    cudaEvent_t begin = nullptr;
    cudaEvent_t end = nullptr;
    cudaEventCreate(&begin);
    cudaEventCreate(&end);
    std::vector<float> times;
    for (int i = 0; i < 15; ++i) {
        cudaEventRecord(begin, stream);
        run();
        cudaEventRecord(end, stream);
        cudaEventSynchronize(end);
        float ms = 0.0F;
        cudaEventElapsedTime(&ms, begin, end);
        times.push_back(ms);
    }
    cudaEventDestroy(begin);
    cudaEventDestroy(end);
    std::sort(times.begin() + 3, times.end());
    return static_cast<double>(times[9]);
}

/// Bytes a second of a copy, read and written.
double copy_rate(Gpu& gpu) {
    const std::int64_t bytes = std::int64_t{2} << 30;
    const Buffer from(gpu.queue->memory(), bytes, "bench");
    const Buffer to(gpu.queue->memory(), bytes, "bench");
    const double ms = median_ms(gpu, [&] { gpu.queue->copy_bytes(to.data(), from.data(), bytes); });
    return 2e3 * static_cast<double>(bytes) / ms;
}

std::string_view only;

struct Bench {
    Gpu& gpu;
    double rate;
    std::int64_t lanes, length;

    double rows() const { return static_cast<double>(lanes * length); }
    void line(const char* name, double bytes, const std::function<void()>& run) const {
        if (std::string_view(name).substr(0, only.size()) != only) {
            return;
        }
        const double ms = median_ms(gpu, run);
        const double floor = 1e3 * bytes / rate;
        std::printf("| %s | %lld x %lld | %.2f | %.3f | %.3f | %.0f | %.0f %% |\n", name,
                    static_cast<long long>(lanes), static_cast<long long>(length), bytes * 1e-9,
                    floor, ms, bytes / ms * 1e-6, 100.0 * floor / ms);
        std::fflush(stdout);
    }

    void embedding() const;
    void rms_norm() const;
    void conv(std::int64_t segment_rows) const;
    void cross_entropy() const;
    void pool(std::int64_t group_rows) const;
};

/// Ids that rise by one every `rows` positions.
Tensor rising(const Bench& bench, std::int64_t rows) {
    Tensor ids(host_allocator(), DType::i32, {bench.lanes, bench.length}, "bench");
    auto* const id = static_cast<std::int32_t*>(ids.view().data());
    for (std::int64_t i = 0; i < bench.lanes * bench.length; ++i) {
        id[i] = static_cast<std::int32_t>(i % bench.length / rows);
    }
    Tensor out(bench.gpu.queue->memory(), DType::i32, ids.shape(), "bench");
    copy(*bench.gpu.queue, std::as_const(ids).view(), out.view());
    bench.gpu.queue->wait();
    return out;
}

void Bench::embedding() const {
    Tensor ids = spread(gpu, DType::u8, {lanes, length}, 12);
    Tensor table = spread(gpu, DType::f32, {kTokens, kWidth});
    Tensor y = spread(gpu, DType::bf16, {lanes, length, kWidth});
    Tensor dtable(gpu.queue->memory(), DType::f64, {kTokens, kWidth}, "bench");
    line("embedding", rows() * (kWidth * 2 + 1), [&] {
        ops::embedding_forward(gpu.context, {ids.view(), table.view(), y.view()});
    });
    line("embedding backward", rows() * (kWidth * 2 + 1), [&] {
        ops::embedding_backward(gpu.context, {ids.view(), y.view(), dtable.view()});
    });
}

void Bench::rms_norm() const {
    const Shape shape = {lanes, length, kWidth};
    Tensor hidden = spread(gpu, DType::bf16, shape);
    Tensor residual = spread(gpu, DType::f32, shape);
    Tensor weight = spread(gpu, DType::f32, {kWidth});
    Tensor y = spread(gpu, DType::bf16, shape);
    Tensor rstd = spread(gpu, DType::f32, {lanes, length});
    Tensor dx = spread(gpu, DType::f32, shape);
    Tensor dweight(gpu.queue->memory(), DType::f64, {kWidth}, "bench");
    const double elements = rows() * kWidth;
    line("rms_norm", elements * (4 + 4 + 2 + 2), [&] {
        ops::RmsNorm op;
        op.hidden = hidden.view();
        op.residual_in = residual.view();
        op.weight = weight.view();
        op.residual_out = residual.view();
        op.y = y.view();
        op.rstd = rstd.view();
        ops::rms_norm_forward(gpu.context, op);
    });
    ops::RmsNormGrad grad;
    grad.residual_out = residual.view();
    grad.weight = weight.view();
    grad.rstd = rstd.view();
    grad.dy = y.view();
    grad.dresidual_out = dx.view();
    grad.dx = dx.view();
    grad.dweight = dweight.view();
    line("rms_norm backward", elements * (4 + 2 + 4 + 4),
         [&] { ops::rms_norm_backward(gpu.context, grad); });
    grad.dx_bf16 = hidden.view();
    line("rms_norm backward, dx_bf16", elements * (4 + 2 + 4 + 4 + 2),
         [&] { ops::rms_norm_backward(gpu.context, grad); });
}

void Bench::conv(std::int64_t segment_rows) const {
    Tensor xz = spread(gpu, DType::bf16, {lanes, length, 2 * kInner});
    Tensor y = spread(gpu, DType::bf16, {lanes, length, kInner});
    Tensor dxz = spread(gpu, DType::bf16, {lanes, length, 2 * kInner});
    Tensor weight = spread(gpu, DType::f32, {kInner, 4});
    Tensor bias = spread(gpu, DType::f32, {kInner});
    Tensor state = spread(gpu, DType::f32, {lanes, 3, kInner});
    Tensor segment = rising(*this, segment_rows);
    Tensor dweight(gpu.queue->memory(), DType::f64, {kInner, 4}, "bench");
    Tensor dbias(gpu.queue->memory(), DType::f64, {kInner}, "bench");
    const bool has_segment = segment_rows < length;
    const double elements = rows() * kInner;
    ops::CausalConv1d op;
    op.x = xz.view().slice(2, 0, kInner);
    op.weight = weight.view();
    op.bias = bias.view();
    op.segment = has_segment ? segment.view() : TensorView();
    op.state_in = state.view();
    op.y = y.view();
    op.state_out = state.view();
    line(has_segment ? "causal_conv1d, segments of 150" : "causal_conv1d", elements * 4,
         [&] { ops::causal_conv1d_forward(gpu.context, op); });
    ops::CausalConv1dGrad grad;
    grad.x = op.x;
    grad.weight = op.weight;
    grad.bias = op.bias;
    grad.segment = op.segment;
    grad.state_in = op.state_in;
    grad.dy = y.view();
    grad.dx = dxz.view().slice(2, 0, kInner);
    grad.dweight = dweight.view();
    grad.dbias = dbias.view();
    line(has_segment ? "causal_conv1d backward, segments of 150" : "causal_conv1d backward",
         elements * 6, [&] { ops::causal_conv1d_backward(gpu.context, grad); });
}

void Bench::cross_entropy() const {
    Tensor logits = spread(gpu, DType::f32, {lanes, length, kTokens});
    Tensor dlogits = spread(gpu, DType::bf16, {lanes, length, kTokens});
    Tensor targets = spread(gpu, DType::u8, {lanes, length}, 12);
    Tensor weight = spread(gpu, DType::f32, {lanes, length});
    Tensor loss_sum(gpu.queue->memory(), DType::f64, {lanes}, "bench");
    line("cross_entropy", rows() * (kTokens * 4 + 1 + 4), [&] {
        ops::CrossEntropy op;
        op.logits = logits.view();
        op.targets = targets.view();
        op.weight = weight.view();
        op.loss_sum = loss_sum.view();
        ops::cross_entropy_forward(gpu.context, op);
    });
    line("cross_entropy backward", rows() * (kTokens * 6 + 1 + 4), [&] {
        ops::cross_entropy_backward(gpu.context, {.logits = logits.view(),
                                                  .targets = targets.view(),
                                                  .weight = weight.view(),
                                                  .scale = 0.5,
                                                  .scale_there = {},
                                                  .dlogits = dlogits.view()});
    });
}

void Bench::pool(std::int64_t group_rows) const {
    const std::int64_t groups = (length + group_rows - 1) / group_rows;
    Tensor x = spread(gpu, DType::bf16, {lanes, length, kWidth});
    Tensor group = rising(*this, group_rows);
    Tensor sum = spread(gpu, DType::f64, {lanes, groups, kWidth});
    Tensor count = spread(gpu, DType::i64, {lanes, groups}, 2);
    line(group_rows < length ? "pool mean, groups of 1,000" : "pool mean, one group",
         rows() * (kWidth * 2 + 4), [&] {
             ops::pool_forward(gpu.context, {.x = x.view(),
                                             .group = group.view(),
                                             .mode = ops::PoolMode::mean,
                                             .sum = sum.view(),
                                             .count = count.view()});
         });
}

void elementwise(Gpu& gpu, double rate) {
    const std::int64_t n = std::int64_t{1} << 26;
    const Bench bench{gpu, rate, 1, n};
    Tensor x = spread(gpu, DType::f32, {n});
    Tensor half = spread(gpu, DType::bf16, {n});
    Tensor wide = spread(gpu, DType::f64, {n});
    Tensor other = spread(gpu, DType::f64, {n});
    Tensor m = spread(gpu, DType::f32, {n});
    Tensor v(gpu.queue->memory(), DType::f32, {n}, "bench");
    Tensor sum(gpu.queue->memory(), DType::f64, {1}, "bench");
    const auto count = static_cast<double>(n);
    bench.line("fill f32", count * 4, [&] { ops::fill(gpu.context, {v.view(), 1.0}); });
    bench.line("cast f32 to bf16", count * 6, [&] {
        ops::cast(gpu.context, {x.view(), half.view()});
    });
    bench.line("add f64", count * 24, [&] { ops::add(gpu.context, {wide.view(), other.view()}); });
    bench.line("norm_sq f64", count * 8, [&] {
        ops::norm_sq(gpu.context, {wide.view(), sum.view()});
    });
    bench.line("adamw", count * (4 * 6 + 8), [&] {
        ops::AdamW op;
        op.parts = {{x.view(), m.view(), v.view(), wide.view()}};
        op.lr = 1e-3;
        ops::adamw(gpu.context, op);
    });
}

}  // namespace

int main(int argc, char** argv) {
    only = argc > 1 ? argv[1] : "";
    Gpu gpu;
    const double rate = copy_rate(gpu);
    std::printf("copy: %.0f GB/s read and written\n", rate * 1e-9);
    std::printf("| op | B x T | GB | floor ms | ms | GB/s | of the copy's rate |\n");
    for (const Bench& bench : {Bench{gpu, rate, 1, 1 << 20}, Bench{gpu, rate, 1024, 1 << 10},
                               Bench{gpu, rate, 1, 1 << 16}}) {
        bench.embedding();
        bench.rms_norm();
        bench.conv(bench.length);
        bench.conv(150);
        bench.cross_entropy();
        bench.pool(1000);
    }
    Bench{gpu, rate, 1, 1 << 20}.pool(1 << 20);
    elementwise(gpu, rate);
    return 0;
}
