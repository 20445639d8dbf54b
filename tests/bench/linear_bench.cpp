// Our matrix products beside plain Eigen's, at the shapes of a model 128 wide, 4,096 positions:
// medians of interleaved repeats. One thread is timed by its processor time, so that a busy machine
// disturbs less; two threads against one by the clock.
//
//   linear_bench [repeats]      default: 25
//
// This file is compiled with AVX2, and as linear_bench_avx512 with AVX-512, so that Eigen may use
// what ours uses.
#include "kernels/ops/linear.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/tensor_tools.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <vector>

#include <Eigen/Core>

using namespace mambase;
using namespace mambase::test;

namespace {

#if defined(__AVX512F__)
constexpr cpu::SimdLevel kLevel = cpu::SimdLevel::avx512;
#elif defined(__AVX2__)
constexpr cpu::SimdLevel kLevel = cpu::SimdLevel::avx2;
#else
constexpr cpu::SimdLevel kLevel = cpu::SimdLevel::scalar;
#endif
constexpr std::int64_t kLength = 4096;

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double wall_seconds() {
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

/// Medians of a and b, called in turn.
std::pair<double, double> interleaved(int repeats,
                                      double (*clock)(),
                                      const std::function<void()>& a,
                                      const std::function<void()>& b) {
    std::vector<double> times[2];
    for (int i = -1; i < repeats; ++i) {  // the first round warms up
        const double start = clock();
        a();
        const double middle = clock();
        b();
        const double end = clock();
        if (i >= 0) {
            times[0].push_back(middle - start);
            times[1].push_back(end - middle);
        }
    }
    return {median(times[0]), median(times[1])};
}

Eigen::Map<Matrix> as_matrix(Tensor& tensor, std::int64_t rows, std::int64_t columns) {
    return {static_cast<float*>(tensor.view().data()), rows, columns};
}

struct Layer {
    const char* name;
    std::int64_t inputs, outputs;
};

struct Data {
    Layer layer;
    Tensor x, weight, y, dx, dweight;
    Matrix eigen_y, eigen_dx, eigen_dweight;

    explicit Data(const Layer& l)
        : layer(l),
          x(normal_tensor({1, kLength, l.inputs}, 1, 1)),
          weight(normal_tensor({l.outputs, l.inputs}, 1, 2)),
          y(normal_tensor({1, kLength, l.outputs}, 1, 3)),
          dx(filled(DType::f32, {1, kLength, l.inputs}, 0.0)),
          dweight(filled(DType::f64, {l.outputs, l.inputs}, 0.0)),
          eigen_y(kLength, l.outputs),
          eigen_dx(kLength, l.inputs),
          eigen_dweight(l.outputs, l.inputs) {}

    void forward(Run& run) {
        ops::linear_forward(run.context(), {x.view(), weight.view(), {}, y.view()});
    }
    void backward(Run& run, bool with_dx) {
        ops::LinearGrad op;
        op.x = x.view();
        op.weight = weight.view();
        op.dy = y.view();
        op.dx = with_dx ? dx.view() : TensorView();
        op.dweight = dweight.view();
        ops::linear_backward(run.context(), op);
    }
    void eigen_forward() {
        eigen_y.noalias() = as_matrix(x, kLength, layer.inputs) *
                            as_matrix(weight, layer.outputs, layer.inputs).transpose();
    }
    void eigen_weight_gradient() {
        eigen_dweight.noalias() =
            as_matrix(y, kLength, layer.outputs).transpose() * as_matrix(x, kLength, layer.inputs);
    }
    void eigen_backward() {
        eigen_weight_gradient();
        eigen_dx.noalias() =
            as_matrix(y, kLength, layer.outputs) * as_matrix(weight, layer.outputs, layer.inputs);
    }
};

void print_row(const char* name,
               const char* what,
               std::int64_t products,
               const Data& data,
               std::pair<double, double> ours_and_eigen,
               std::pair<double, double> one_and_two) {
    const double flop =
        2.0 * static_cast<double>(products * kLength * data.layer.inputs * data.layer.outputs);
    std::printf(
        "%-9s %3lld -> %3lld  %-12s %8.3f ms %7.1f GFLOP/s %8.3f ms %6.2f %8.2f\n", name,
        static_cast<long long>(data.layer.inputs), static_cast<long long>(data.layer.outputs), what,
        1e3 * ours_and_eigen.first, 1e-9 * flop / ours_and_eigen.first, 1e3 * ours_and_eigen.second,
        ours_and_eigen.first / ours_and_eigen.second, one_and_two.first / one_and_two.second);
}

}  // namespace

int main(int argc, char** argv) {
    const int repeats = argc > 1 ? std::atoi(argv[1]) : 25;
    Run one(cpu_backend(kLevel), 1);
    Run two(cpu_backend(kLevel), 2);
    std::printf("%s, %lld positions\n%-9s %-11s %-12s %11s %15s %11s %6s %8s\n",
                one.context().table.name, static_cast<long long>(kLength), "layer", "", "", "ours",
                "", "Eigen", "ratio", "1/2 thr");
    const Layer layers[] = {{"in_proj", 128, 512},
                            {"x_proj", 256, 40},
                            {"dt_proj", 8, 256},
                            {"out_proj", 256, 128},
                            {"head", 128, 16}};
    for (const Layer& layer : layers) {
        Data data(layer);
        print_row(
            layer.name, "forward", 1, data,
            interleaved(
                repeats, thread_seconds, [&] { data.forward(one); }, [&] { data.eigen_forward(); }),
            interleaved(
                repeats, wall_seconds, [&] { data.forward(one); }, [&] { data.forward(two); }));
        print_row(layer.name, "dweight", 1, data,
                  interleaved(
                      repeats, thread_seconds, [&] { data.backward(one, false); },
                      [&] { data.eigen_weight_gradient(); }),
                  interleaved(
                      repeats, wall_seconds, [&] { data.backward(one, false); },
                      [&] { data.backward(two, false); }));
        print_row(layer.name, "dweight + dx", 2, data,
                  interleaved(
                      repeats, thread_seconds, [&] { data.backward(one, true); },
                      [&] { data.eigen_backward(); }),
                  interleaved(
                      repeats, wall_seconds, [&] { data.backward(one, true); },
                      [&] { data.backward(two, true); }));
    }
    return 0;
}
