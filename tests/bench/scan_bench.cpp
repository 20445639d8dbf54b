// Times of the sequence ops on one thread, at each SIMD level: medians of interleaved repeats, in
// processor time of the thread, so that a busy machine disturbs less.
//
//   scan_bench [repeats [T [E [N]]]]      defaults: 15 4096 256 16
#include "kernels/ops/causal_conv1d.hpp"
#include "kernels/ops/selective_scan.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/tensor_tools.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <memory>
#include <string>
#include <vector>

using namespace mambase;
using namespace mambase::test;

namespace {

double thread_seconds() {
    timespec now{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

struct Sizes {
    std::int64_t length, inner, state;
};

/// Arguments of both ops, as a model of this size would give them: x and z are halves of one row.
struct Data {
    Sizes at;
    Tensor xz, dt_raw, bc, dy, a_log, d, dt_bias, y, saved, weight;
    Tensor dxz, ddt_raw, dbc, da_log, dd, ddt_bias, dweight, state;

    explicit Data(const Sizes& sizes, std::int64_t saved_bytes)
        : at(sizes),
          xz(normal_tensor({1, at.length, 2 * at.inner}, 1, 1)),
          dt_raw(normal_tensor({1, at.length, at.inner}, 1, 2, 0.3)),
          bc(normal_tensor({1, at.length, 2 * at.state}, 1, 3)),
          dy(normal_tensor({1, at.length, at.inner}, 1, 4)),
          a_log(filled(DType::f32, {at.inner, at.state}, 0.0)),
          d(filled(DType::f32, {at.inner}, 1.0)),
          dt_bias(normal_tensor({at.inner}, 1, 5, 1.0, -4.5)),
          y(filled(DType::f32, {1, at.length, at.inner}, 0.0)),
          saved(filled(DType::u8, {saved_bytes}, 0.0)),
          weight(normal_tensor({at.inner, 4}, 1, 6)),
          dxz(filled(DType::f32, xz.shape(), 0.0)),
          ddt_raw(filled(DType::f32, dt_raw.shape(), 0.0)),
          dbc(filled(DType::f32, bc.shape(), 0.0)),
          da_log(filled(DType::f64, a_log.shape(), 0.0)),
          dd(filled(DType::f64, d.shape(), 0.0)),
          ddt_bias(filled(DType::f64, d.shape(), 0.0)),
          dweight(filled(DType::f64, weight.shape(), 0.0)),
          state(filled(DType::f32, {1, at.inner, at.state}, 0.0)) {
        auto* const rates = static_cast<float*>(a_log.view().data());
        for (std::int64_t i = 0; i < at.inner * at.state; ++i) {
            rates[i] = std::log(static_cast<float>(i % at.state + 1));
        }
    }

    static TensorView half(Tensor& both, int which) {
        const std::int64_t width = both.shape()[2] / 2;
        return both.view().slice(2, which * width, (which + 1) * width);
    }

    ops::SelectiveScan forward(bool with_saved) {
        ops::SelectiveScan op;
        op.x = half(xz, 0);
        op.z = half(xz, 1);
        op.dt_raw = dt_raw.view();
        op.a_log = a_log.view();
        op.b = half(bc, 0);
        op.c = half(bc, 1);
        op.d = d.view();
        op.dt_bias = dt_bias.view();
        op.y = y.view();
        op.state_out = state.view();
        op.saved = with_saved ? saved.view() : TensorView();
        return op;
    }

    ops::SelectiveScanGrad backward() {
        const ops::SelectiveScan f = forward(true);
        ops::SelectiveScanGrad op;
        op.x = f.x;
        op.z = f.z;
        op.dt_raw = f.dt_raw;
        op.a_log = f.a_log;
        op.b = f.b;
        op.c = f.c;
        op.d = f.d;
        op.dt_bias = f.dt_bias;
        op.saved = saved.view();
        op.dy = dy.view();
        op.dx = half(dxz, 0);
        op.dz = half(dxz, 1);
        op.ddt_raw = ddt_raw.view();
        op.db = half(dbc, 0);
        op.dc = half(dbc, 1);
        op.da_log = da_log.view();
        op.dd = dd.view();
        op.ddt_bias = ddt_bias.view();
        return op;
    }

    ops::CausalConv1d conv_forward() {
        ops::CausalConv1d op;
        op.x = half(xz, 0);
        op.weight = weight.view();
        op.bias = d.view();
        op.y = y.view();
        return op;
    }

    ops::CausalConv1dGrad conv_backward() {
        ops::CausalConv1dGrad op;
        op.x = half(xz, 0);
        op.weight = weight.view();
        op.bias = d.view();
        op.dy = dy.view();
        op.dx = half(dxz, 0);
        op.dweight = dweight.view();
        op.dbias = dd.view();
        return op;
    }
};

struct Timed {
    std::string name;
    std::function<void()> call;
    std::vector<double> seconds;

    void measure() {
        const double start = thread_seconds();
        call();
        seconds.push_back(thread_seconds() - start);
    }
    double quantile(double q) {
        std::sort(seconds.begin(), seconds.end());
        return seconds[static_cast<std::size_t>(q * static_cast<double>(seconds.size() - 1))];
    }
};

}  // namespace

int main(int argc, char** argv) {
    const auto argument = [&](int i, std::int64_t otherwise) {
        return argc > i ? std::strtoll(argv[i], nullptr, 10) : otherwise;
    };
    const std::int64_t repeats = argument(1, 15);
    const Sizes sizes{argument(2, 4096), argument(3, 256), argument(4, 16)};
    std::vector<std::unique_ptr<Run>> runs;
    std::vector<std::unique_ptr<Data>> data;
    std::vector<Timed> timed;
    for (const cpu::SimdLevel level : supported_levels()) {
        runs.push_back(std::make_unique<Run>(cpu_backend(level)));
        ops::Context& context = runs.back()->context();
        data.push_back(std::make_unique<Data>(
            sizes, ops::selective_scan_saved_bytes(context.table, 1, sizes.length, sizes.inner,
                                                   sizes.state)));
        Data& on = *data.back();
        const auto add = [&](const char* what, std::function<void()> call) {
            timed.push_back({concat(what, " ", cpu::name(level)), std::move(call), {}});
        };
        add("scan forward", [&] { ops::selective_scan_forward(context, on.forward(false)); });
        add("scan forward, saved", [&] { ops::selective_scan_forward(context, on.forward(true)); });
        add("scan backward", [&] { ops::selective_scan_backward(context, on.backward()); });
        add("conv forward", [&] { ops::causal_conv1d_forward(context, on.conv_forward()); });
        add("conv backward", [&] { ops::causal_conv1d_backward(context, on.conv_backward()); });
    }
    for (std::int64_t i = 0; i <= repeats; ++i) {
        for (Timed& one : timed) {
            one.measure();
            if (i == 0) {
                one.seconds.clear();  // the first round warms up
            }
        }
    }
    const auto elements = static_cast<double>(sizes.length * sizes.inner * sizes.state);
    std::printf("T %lld E %lld N %lld, %lld repeats, one thread\n",
                static_cast<long long>(sizes.length), static_cast<long long>(sizes.inner),
                static_cast<long long>(sizes.state), static_cast<long long>(repeats));
    std::printf("%-28s %10s %10s %18s\n", "", "median ms", "least ms", "ns per (t,d,n)");
    for (Timed& one : timed) {
        const double median = one.quantile(0.5);
        std::printf("%-28s %10.3f %10.3f %18.4f\n", one.name.c_str(), 1e3 * median,
                    1e3 * one.quantile(0.0), 1e9 * median / elements);
    }
    return 0;
}
