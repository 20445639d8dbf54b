// The linear op on a CUDA device: checked against float64, checked for equal bits, and timed.
//
// usage: cuda_linear_bench [check] [bits] [time]        (all three where none is named)
#include "kernels/cuda/cuda_check.hpp"
#include "kernels/cuda/cuda_ops.hpp"
#include "kernels/ops/linear.hpp"
#include "tests/bench/cuda_bench_machine.cuh"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include <cuda_bf16.h>
#include <cuda_runtime.h>

using namespace mambase;
using mambase::bench::Machine;

namespace {

int failures = 0;

void verdict(bool good, const std::string& what) {
    failures += good ? 0 : 1;
    std::printf("%s %s\n", good ? "ok  " : "FAIL", what.c_str());
}

float rounded(DType type, double value) {
    return type == DType::bf16 ? __bfloat162float(__float2bfloat16(static_cast<float>(value)))
                               : static_cast<float>(value);
}

/// One shape: rows of x and y lie in rows wider by `pad_x`, `pad_y`, from column `offset` on; lanes
/// are `gap` rows apart.
struct Case {
    std::int64_t inputs, outputs, lanes, length, pad_x, pad_y, offset, gap;
    bool f32_y, add;
};

double relative(const std::vector<double>& got, const std::vector<double>& want, bool norm) {
    double difference = 0;
    double size = 0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        const double d = std::abs(got[i] - want[i]);
        const double w = std::abs(want[i]);
        if (!std::isfinite(got[i])) {
            return INFINITY;
        }
        difference = norm ? difference + d * d : std::max(difference, d);
        size = norm ? size + w * w : std::max(size, w);
    }
    return norm ? std::sqrt(difference / size) : difference / size;
}

void check_case(Machine& m, const Case& c, DType type) {
    const std::int64_t wide_x = c.inputs + c.pad_x;
    const std::int64_t wide_y = c.outputs + c.pad_y;
    const std::int64_t far = c.length + c.gap;
    const DType type_y = c.f32_y ? DType::f32 : type;
    Tensor x = m.filled(type, {c.lanes, far, wide_x}, 1);
    Tensor weight = m.filled(DType::f32, {c.outputs, c.inputs}, 2);
    Tensor bias = m.filled(DType::f32, {c.outputs}, 3);
    Tensor dy = m.filled(type, {c.lanes, far, wide_y}, 4);
    Tensor y = m.filled(type_y, {c.lanes, far, wide_y}, 5);
    Tensor dx = m.filled(type, {c.lanes, far, wide_x}, 6);
    Tensor dweight = m.filled(DType::f64, {c.outputs, c.inputs}, 7);
    Tensor dbias = m.filled(DType::f64, {c.outputs}, 8);
    const auto part = [&](const TensorView& view, std::int64_t width) {
        return view.slice(1, 0, c.length).slice(2, c.offset, c.offset + width);
    };
    std::vector<double> want_y = m.read(y);
    std::vector<double> want_dx = m.read(dx);
    std::vector<double> want_dweight = m.read(dweight);
    std::vector<double> want_dbias = m.read(dbias);
    ops::linear_forward(m.context, {.x = part(x.view(), c.inputs),
                                    .weight = weight.view(),
                                    .bias = bias.view(),
                                    .y = part(y.view(), c.outputs)});
    ops::linear_backward(m.context, {.x = part(x.view(), c.inputs),
                                     .weight = weight.view(),
                                     .dy = part(dy.view(), c.outputs),
                                     .dx = part(dx.view(), c.inputs),
                                     .add_to_dx = c.add,
                                     .dweight = dweight.view(),
                                     .dbias = dbias.view()});
    const std::vector<double> xs = m.read(x);
    const std::vector<double> dys = m.read(dy);
    const std::vector<double> biases = m.read(bias);
    std::vector<double> w = m.read(weight);
    for (double& value : w) {
        value = rounded(type, value);
    }
    for (std::int64_t lane = 0; lane < c.lanes; ++lane) {
        for (std::int64_t t = 0; t < c.length; ++t) {
            const std::int64_t row = lane * far + t;
            const double* const a = &xs[static_cast<std::size_t>(row * wide_x + c.offset)];
            const double* const g = &dys[static_cast<std::size_t>(row * wide_y + c.offset)];
            double* const to = &want_dx[static_cast<std::size_t>(row * wide_x + c.offset)];
            for (std::int64_t i = 0; i < c.inputs && !c.add; ++i) {
                to[i] = 0;
            }
            for (std::int64_t o = 0; o < c.outputs; ++o) {
                const double* const from = &w[static_cast<std::size_t>(o * c.inputs)];
                double* const sum = &want_dweight[static_cast<std::size_t>(o * c.inputs)];
                double value = biases[static_cast<std::size_t>(o)];
                for (std::int64_t i = 0; i < c.inputs; ++i) {
                    value += a[i] * from[i];
                    to[i] += g[o] * from[i];
                    sum[i] += g[o] * a[i];
                }
                want_y[static_cast<std::size_t>(row * wide_y + c.offset + o)] = value;
                want_dbias[static_cast<std::size_t>(o)] += g[o];
            }
        }
    }
    const double errors[] = {
        relative(m.read(y), want_y, false), relative(m.read(dx), want_dx, false),
        relative(m.read(dweight), want_dweight, true), relative(m.read(dbias), want_dbias, true)};
    const double bound = type == DType::bf16 ? 6e-3 : 1e-5;
    const double bound_y = type_y == DType::f32 ? 1e-5 : bound;
    char text[200];
    std::snprintf(text, sizeof(text),
                  "%s I %lld O %lld B %lld T %lld pads %lld %lld offset %lld gap %lld%s%s: y %.1e, "
                  "dx %.1e, dweight %.1e, dbias %.1e",
                  type == DType::bf16 ? "bf16" : "f32 ", static_cast<long long>(c.inputs),
                  static_cast<long long>(c.outputs), static_cast<long long>(c.lanes),
                  static_cast<long long>(c.length), static_cast<long long>(c.pad_x),
                  static_cast<long long>(c.pad_y), static_cast<long long>(c.offset),
                  static_cast<long long>(c.gap), c.f32_y ? " f32 y" : "", c.add ? " add" : "",
                  errors[0], errors[1], errors[2], errors[3]);
    verdict(errors[0] < bound_y && errors[1] < bound && errors[2] < 1e-5 && errors[3] < 1e-5, text);
}

void check_all(Machine& m) {
    const Case cases[] = {
        {33, 5, 3, 17384, 0, 0, 0, 0, false, true},  {33, 5, 3, 17384, 3, 3, 1, 7, false, false},
        {16, 40, 2, 9000, 32, 0, 0, 0, false, true}, {16, 40, 2, 9000, 32, 8, 8, 0, false, false},
        {64, 48, 4, 777, 0, 0, 0, 0, true, false},   {5, 33, 1, 1, 0, 0, 0, 0, false, false},
        {256, 16, 2, 130, 0, 0, 0, 0, true, false},  {5, 33, 37, 1, 0, 0, 0, 2, false, true},
        {24, 7, 5, 5000, 0, 1, 0, 0, false, false},  {31, 3, 20, 9192, 1, 1, 1, 0, true, false},
        {1, 1, 2, 9000, 0, 0, 0, 0, false, false},   {8, 300, 3, 100, 0, 0, 0, 0, false, false},
    };
    for (const Case& c : cases) {
        for (const DType type : {DType::bf16, DType::f32}) {
            check_case(m, c, type);
        }
    }
    Tensor none = m.filled(DType::f32, {1, 1, 8}, 1);
    Tensor weight = m.filled(DType::f32, {8, 8}, 1);
    Tensor dweight = m.filled(DType::f64, {8, 8}, 1);
    const TensorView empty = none.view().slice(1, 0, 0);
    ops::linear_forward(m.context, {.x = empty, .weight = weight.view(), .y = empty});
    ops::linear_backward(
        m.context,
        {.x = empty, .weight = weight.view(), .dy = empty, .dx = empty, .dweight = dweight.view()});
    m.queue.wait();
    verdict(true, "no rows");
}

struct Widths {
    const char* name;
    std::int64_t inputs, outputs, row_of_x;
    bool f32_y;
};

constexpr Widths kLayer[] = {{"in_proj", 256, 1024, 256, false},
                             {"x_proj", 512, 48, 512, false},
                             {"dt_proj", 16, 512, 48, false},
                             {"out_proj", 512, 256, 512, false},
                             {"head", 256, 16, 256, true}};
constexpr Widths kOdd[] = {{"odd", 33, 5, 33, false}, {"odd slice", 7, 130, 40, false}};

/// Some rows of a product by themselves against the same rows among all.
void compare_rows(Machine& m, const Widths& s, DType type, std::int64_t all) {
    Tensor x = m.filled(type, {1, all, s.row_of_x}, 1);
    Tensor weight = m.filled(DType::f32, {s.outputs, s.inputs}, 2);
    Tensor bias = m.filled(DType::f32, {s.outputs}, 3);
    Tensor dy = m.filled(type, {1, all, s.outputs}, 4);
    Tensor dweight(m.queue.memory(), DType::f64, weight.shape(), "bench");
    const auto forward = [&](const TensorView& rows, const TensorView& y) {
        ops::linear_forward(m.context, {.x = rows.slice(2, 0, s.inputs),
                                        .weight = weight.view(),
                                        .bias = s.f32_y ? bias.view() : ConstTensorView(),
                                        .y = y});
    };
    const auto backward = [&](const TensorView& rows, const TensorView& gradient,
                              const TensorView& dx) {
        ops::linear_backward(m.context, {.x = rows.slice(2, 0, s.inputs),
                                         .weight = weight.view(),
                                         .dy = gradient,
                                         .dx = dx.slice(2, 0, s.inputs),
                                         .dweight = dweight.view()});
    };
    const DType type_y = s.f32_y ? DType::f32 : type;
    Tensor y = m.filled(type_y, {1, all, s.outputs}, 5);
    Tensor dx = m.filled(type, {1, all, s.row_of_x}, 6);
    forward(x.view(), y.view());
    backward(x.view(), dy.view(), dx.view());
    Tensor y_part(m.queue.memory(), type_y, y.shape(), "bench");
    Tensor dx_part(m.queue.memory(), type, dx.shape(), "bench");
    m.queue.copy_bytes(dx_part.view().data(), dx.view().data(), dx.bytes());
    unsigned long long differing = 0;
    for (const std::int64_t first : {std::int64_t{0}, std::int64_t{777}, all - 64}) {
        for (const std::int64_t count : {1, 3, 64, 1000, 65536}) {
            if (first + count > all) {
                continue;
            }
            const auto part = [&](Tensor& tensor) {
                return tensor.view().slice(1, first, first + count);
            };
            m.queue.zero_bytes(y_part.view().data(), y_part.bytes());
            forward(part(x), part(y_part));
            backward(part(x), part(dy), part(dx_part));
            differing += m.differences(part(y), part(y_part));
            differing += m.differences(part(dx), part(dx_part));
        }
    }
    char text[160];
    std::snprintf(text, sizeof(text), "rows of %s %s among %lld: %llu differ", s.name,
                  type == DType::bf16 ? "bf16" : "f32", static_cast<long long>(all), differing);
    verdict(differing == 0, text);
}

/// Lanes that lie apart, all at once, against each by itself.
void compare_lanes(Machine& m, const Widths& s, DType type) {
    constexpr std::int64_t kLanes = 5;
    constexpr std::int64_t kLength = 900;
    Tensor x = m.filled(type, {kLanes, kLength + 7, s.row_of_x}, 1);
    Tensor weight = m.filled(DType::f32, {s.outputs, s.inputs}, 2);
    Tensor together(m.queue.memory(), type, {kLanes, kLength, s.outputs}, "bench");
    Tensor alone(m.queue.memory(), type, {kLanes, kLength, s.outputs}, "bench");
    const TensorView in = x.view().slice(1, 0, kLength).slice(2, 0, s.inputs);
    ops::linear_forward(m.context,
                        {.x = in, .weight = weight.view(), .bias = {}, .y = together.view()});
    for (std::int64_t lane = 0; lane < kLanes; ++lane) {
        ops::linear_forward(m.context, {.x = in.slice(0, lane, lane + 1),
                                        .weight = weight.view(),
                                        .bias = {},
                                        .y = alone.view().slice(0, lane, lane + 1)});
    }
    const unsigned long long differing = m.differences(together.view(), alone.view());
    char text[160];
    std::snprintf(text, sizeof(text), "lanes of %s %s: %llu differ", s.name,
                  type == DType::bf16 ? "bf16" : "f32", differing);
    verdict(differing == 0, text);
}

/// Parameter gradients of a whole against those of its chunks from right to left, taken as parts
/// of the whole and as tensors of their own.
void compare_chunks(Machine& m,
                    const Widths& s,
                    DType type,
                    std::int64_t lanes,
                    std::int64_t length,
                    const std::vector<std::int64_t>& tiles) {
    Tensor x = m.filled(type, {lanes, length, s.row_of_x}, 1);
    Tensor weight = m.filled(DType::f32, {s.outputs, s.inputs}, 2);
    Tensor dy = m.filled(type, {lanes, length, s.outputs}, 4);
    const auto copied = [&](const TensorView& view) {
        Tensor out(m.queue.memory(), type, view.shape(), "bench");
        const std::size_t row = static_cast<std::size_t>(view.extent(2) * size_of(type));
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            const auto bytes = static_cast<std::size_t>(view.extent(1)) * row;
            m.queue.copy_bytes(out.view().slice(0, lane, lane + 1).data(),
                               view.slice(0, lane, lane + 1).data(),
                               static_cast<std::int64_t>(bytes));
        }
        return out;
    };
    const auto gradient = [&](bool chunks, bool copies) {
        Tensor out = m.filled(DType::f64, {s.outputs * s.inputs + s.outputs}, 9);
        const TensorView all = out.view();
        const TensorView dweight =
            all.slice(0, 0, s.outputs * s.inputs).reshape({s.outputs, s.inputs});
        const TensorView dbias = all.slice(0, s.outputs * s.inputs, all.extent(0));
        std::vector<std::int64_t> borders = {length};
        for (auto tile = tiles.rbegin(); chunks && tile != tiles.rend(); ++tile) {
            borders.push_back(*tile * cuda::kGradientTile);
        }
        borders.push_back(0);
        for (std::size_t i = 1; i < borders.size(); ++i) {
            const TensorView part_x = x.view().slice(1, borders[i], borders[i - 1]);
            const TensorView part_dy = dy.view().slice(1, borders[i], borders[i - 1]);
            Tensor own_x = copies ? copied(part_x) : Tensor();
            Tensor own_dy = copies ? copied(part_dy) : Tensor();
            ops::linear_backward(m.context,
                                 {.x = (copies ? own_x.view() : part_x).slice(2, 0, s.inputs),
                                  .weight = weight.view(),
                                  .dy = copies ? own_dy.view() : part_dy,
                                  .dweight = dweight,
                                  .dbias = dbias});
            m.queue.wait();
        }
        return out;
    };
    Tensor whole = gradient(false, false);
    Tensor again = gradient(false, true);
    Tensor parts = gradient(true, false);
    Tensor own = gradient(true, true);
    const unsigned long long differing[] = {m.differences(whole.view(), again.view()),
                                            m.differences(whole.view(), parts.view()),
                                            m.differences(whole.view(), own.view())};
    char text[200];
    std::snprintf(text, sizeof(text),
                  "chunks of %s %s, %lld x %lld: again %llu, parts %llu, copied %llu differ",
                  s.name, type == DType::bf16 ? "bf16" : "f32", static_cast<long long>(lanes),
                  static_cast<long long>(length), differing[0], differing[1], differing[2]);
    verdict(differing[0] + differing[1] + differing[2] == 0, text);
}

void check_bits(Machine& m) {
    for (const DType type : {DType::bf16, DType::f32}) {
        for (const Widths& s : kLayer) {
            compare_rows(m, s, type, 65536 + 777);
            compare_lanes(m, s, type);
            compare_chunks(m, s, type, 3, 3 * 8192 + 1000, {1, 2, 3});
        }
        for (const Widths& s : kOdd) {
            compare_rows(m, s, type, 65536 + 777);
            compare_lanes(m, s, type);
            compare_chunks(m, s, type, 3, 3 * 8192 + 1000, {1, 2, 3});
            compare_chunks(m, s, type, 20, 8192 + 1001, {1});
        }
        compare_chunks(m, kLayer[0], type, 20, 8192 + 1000, {1});
        compare_chunks(m, kLayer[1], type, 20, 8192 + 1000, {1});
        compare_chunks(m, kLayer[2], type, 5, 2 * 8192 + 5000, {2});
        compare_chunks(m, kLayer[0], type, 8, 125000, {3, 11});
        compare_chunks(m, kLayer[0], type, 1, 1 << 20, {1, 50});
    }
    compare_rows(m, kLayer[0], DType::bf16, (std::int64_t{3} << 20) + 5);
}

/// Lanes and positions.
constexpr std::int64_t kTimed[][2] = {{1, 1 << 20}, {1, (1 << 20) + 3}, {8, 125000},
                                      {64, 16384},  {1024, 1024},       {1, 1}};

void time_all(Machine& m) {
    std::printf("%-9s %-5s %5s %8s %9s %9s %9s %9s  %s\n", "product", "type", "B", "T", "forward",
                "dx", "dweight", "dbias", "scratch forward, dx, dweight [MB]");
    for (const DType type : {DType::bf16, DType::f32}) {
        for (const Widths& s : kLayer) {
            for (const auto& [lanes, length] : kTimed) {
                Tensor x = m.filled(type, {lanes, length, s.row_of_x}, 1);
                Tensor weight = m.filled(DType::f32, {s.outputs, s.inputs}, 2);
                Tensor dy = m.filled(type, {lanes, length, s.outputs}, 4);
                Tensor dweight = m.filled(DType::f64, weight.shape(), 5);
                Tensor dbias = m.filled(DType::f64, {s.outputs}, 6);
                Tensor y(m.queue.memory(), s.f32_y ? DType::f32 : type, dy.shape(), "bench");
                Tensor dx(m.queue.memory(), type, x.shape(), "bench");
                StepMemory step[] = {StepMemory(m.queue.memory()), StepMemory(m.queue.memory()),
                                     StepMemory(m.queue.memory())};
                const auto context = [&](int i) {
                    return ops::Context(m.table, m.pool, step[i], m.host, m.queue, type);
                };
                ops::Context of_forward = context(0);
                ops::Context of_dx = context(1);
                ops::Context of_dweight = context(2);
                const TensorView in = x.view().slice(2, 0, s.inputs);
                const double forward = m.milliseconds([&] {
                    ops::linear_forward(of_forward,
                                        {.x = in, .weight = weight.view(), .y = y.view()});
                });
                ops::LinearGrad grad{
                    .x = in, .weight = weight.view(), .dy = dy.view(), .dweight = dweight.view()};
                const double of_weight =
                    m.milliseconds([&] { ops::linear_backward(of_dweight, grad); });
                grad.dx = dx.view().slice(2, 0, s.inputs);
                const double with_dx = m.milliseconds([&] { ops::linear_backward(of_dx, grad); });
                grad.dx = {};
                grad.dbias = dbias.view();
                const double with_bias = m.milliseconds([&] { ops::linear_backward(of_dx, grad); });
                std::printf("%-9s %-5s %5lld %8lld %9.3f %9.3f %9.3f %9.3f  %.2f %.2f\n", s.name,
                            type == DType::bf16 ? "bf16" : "f32", static_cast<long long>(lanes),
                            static_cast<long long>(length), forward, with_dx - of_weight, of_weight,
                            with_bias - of_weight, static_cast<double>(step[0].high_water()) / 1e6,
                            static_cast<double>(step[2].high_water()) / 1e6);
            }
        }
    }
}

}  // namespace

int main(int argc, char** argv) {
    const auto asked = [&](std::string_view word) {
        return argc == 1 || std::find(argv + 1, argv + argc, word) != argv + argc;
    };
    try {
        Machine machine;
        cudaDeviceProp properties{};
        MAMBASE_CUDA_TRY(cudaGetDeviceProperties(&properties, 0));
        std::printf("%s, cuBLASLt %zu, medians of ten after three warm-ups, ms\n", properties.name,
                    cublasLtGetVersion());
        if (asked("check")) {
            check_all(machine);
        }
        if (asked("bits")) {
            check_bits(machine);
        }
        if (asked("time")) {
            time_all(machine);
        }
    } catch (const std::exception& error) {
        std::printf("FAIL %s\n", error.what());
        return 1;
    }
    std::printf("%d failures\n", failures);
    return failures == 0 ? 0 : 1;
}
