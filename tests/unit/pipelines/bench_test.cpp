#include "pipelines/bench.hpp"

#include "base/error.hpp"
#include "kernels/ops/naive_scan.hpp"
#include "model/model.hpp"
#include "pipelines/bench_ops.hpp"
#include "pipelines/engine.hpp"
#include "pipelines/runtime.hpp"
#include "tests/support/tensor_tools.hpp"

#include <cstdio>
#include <string>
#include <vector>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace mambase;
using namespace mambase::pipelines;

namespace {

/// y and state_out, one after the other.
std::vector<test::Array> results_of(DeviceQueue& queue, const ops::SelectiveScan& op) {
    std::vector<test::Array> out;
    for (std::int64_t lane = 0; lane < op.y.extent(0); ++lane) {
        const TensorView y = op.y.slice(0, lane, lane + 1);
        Tensor host(host_allocator(), y.dtype(), y.shape(), "test");
        copy(queue, y, host.view());
        queue.wait();
        out.push_back(test::to_array(host.view()));
    }
    Tensor host(host_allocator(), DType::f32, op.state_out.shape(), "test");
    copy(queue, op.state_out, host.view());
    queue.wait();
    out.push_back(test::to_array(host.view()));
    return out;
}

void check_plain_steps(Device device, DType precision) {
    const Observer quiet;
    Engine engine({.threads = 2,
                   .device = device,
                   .precision = precision,
                   .observer = quiet,
                   .command_line = {}});
    const model::Model model =
        model::Model::initialise(model::ModelConfig::of_width(36, 1), 1, host_allocator())
            .on_device(engine.queue());
    const LayerBench layer(engine.context(), model, 3, 200, 1);
    const ops::SelectiveScan op = layer.scan(2, 150);
    ops::selective_scan_forward(engine.context(), op);
    const std::vector<test::Array> fused = results_of(engine.queue(), op);
    zero(engine.queue(), op.state_out);
    ops::naive_scan_forward(engine.context(), op);
    const std::vector<test::Array> plain = results_of(engine.queue(), op);
    for (std::size_t i = 0; i < fused.size(); ++i) {
        // Both round to bf16; a value between two of its numbers may go either way.
        const bool rounds = precision == DType::bf16 && i + 1 < fused.size();
        CHECK(test::relative_error(plain[i], fused[i]) < (rounds ? 0x1p-8 : 1e-5));
    }
}

}  // namespace

TEST_CASE("The scan by plain steps gives what the op gives", "[bench]") {
    check_plain_steps({}, DType::f32);
}

TEST_CASE("The bench on a device", "[.gpu][bench]") {
    if (ops::device_count(Device::Kind::cuda) == 0) {
        std::printf("SKIP: no CUDA device\n");
        return;
    }
    const DType precision = GENERATE(DType::f32, DType::bf16);
    const Device device{Device::Kind::cuda, 0};
    check_plain_steps(device, precision);
    const Observer quiet;
    BenchOptions options;
    options.d_model = 32;
    options.layers = 2;
    options.lanes = 2;
    options.length = 10'000;
    options.chunk = 8192;
    options.repeats = 1;
    const BenchReport report = bench(options, {.threads = 1,
                                               .device = device,
                                               .precision = precision,
                                               .observer = quiet,
                                               .command_line = {}});
    CHECK(report.ops.size() == 20);
    CHECK(report.model[0].peak_bytes > 0);
    CHECK(report.model[1].peak_bytes >= report.model[0].peak_bytes);
    CHECK(report.model[1].chunk == 8192);
}

TEST_CASE("The bench times the model and each op beside products", "[bench]") {
    const Observer quiet;
    const int threads = GENERATE(1, 2);
    BenchOptions options;
    options.d_model = 16;
    options.layers = 2;
    options.lanes = GENERATE(1, 3);
    options.length = 300;
    options.repeats = 2;
    const BenchReport report =
        bench(options, {.threads = threads, .device = {}, .observer = quiet, .command_line = {}});
    REQUIRE(report.model.size() == 2);
    CHECK(report.model[0].what == "forward");
    CHECK(report.model[1].what == "training step");
    // 2·rows·Σ in·out of four products a layer and the head: D 16, E 32, N 16, R 1, V 16.
    const double bases = static_cast<double>(options.lanes) * 300;
    CHECK(report.model[0].flops ==
          2.0 * bases * (2 * (16 * 64 + 32 * 33 + 1 * 32 + 32 * 16) + 16 * 16));
    CHECK(report.ops.size() == 20);
    for (const auto* rows : {&report.model, &report.ops}) {
        for (const BenchRow& row : *rows) {
            INFO(row.what);
            CHECK(row.seconds > 0.0);
            CHECK(row.product_seconds > 0.0);
            CHECK(row.ns_per_base() == Approx(row.seconds / bases * 1e9));
        }
    }
    CHECK(report.copy_gigabytes > 0.0);
    for (const BenchRow& row : report.ops) {
        CHECK(row.bytes > 0.0);
    }
    // x, dt_raw, z, y of E 32, b, c of N 16, f32; a_log, d, dt_bias; the states of the lanes.
    CHECK(report.ops[12].what == "selective_scan forward");
    CHECK(report.ops[12].bytes == 4.0 * (bases * (4 * 32 + 2 * 16) + 32 * 18 +
                                         2 * static_cast<double>(options.lanes) * 32 * 16));
    REQUIRE(report.scans.size() == 2);
    CHECK(report.scans[1].bases == options.lanes * 300);
    CHECK(report.scans[1].seconds > 0.0);
    CHECK(report.scan_exps_per_base == 2.0 * (32 * 16 + 3 * 32));
    CHECK(report.two_thread_forward.has_value() == (threads == 2));
    const auto json = nlohmann::json::parse(bench_json(report));
    CHECK(json["model"][0]["ratio"] == report.model[0].ratio());
    CHECK(json.contains("two_threads") == (threads == 2));
}

TEST_CASE("The bench packs windows beside one record", "[bench]") {
    const Observer quiet;
    BenchOptions options;
    options.d_model = 16;
    options.layers = 1;
    options.length = 5000;
    options.chunk = 4100;
    options.segment = 150;
    options.repeats = 1;
    const Runtime runtime{.threads = 1, .device = {}, .observer = quiet, .command_line = {}};
    const BenchReport report = bench(options, runtime);
    REQUIRE(report.model.size() == 3);
    CHECK(report.model[2].what == "forward, windows of 150");
    CHECK(report.model[2].chunk == 13 * 150);      // as many as a lane of 2,048 takes
    CHECK(report.model[2].bases == 2 * 13 * 150);  // of two lanes at once
    CHECK(report.model[2].seconds > 0.0);
    options.segment = 5000;
    CHECK(bench(options, runtime).model[2].bases == 5000);
    options.segment = 5001;
    CHECK_THROWS_WITH(options.validate(), Catch::Contains("segment"));
}

TEST_CASE("A bench of nothing is refused", "[bench]") {
    BenchOptions options;
    options.length = 0;
    options.repeats = 0;
    options.delta = 0.0;
    CHECK_THROWS_WITH(options.validate(), Catch::Contains("length") && Catch::Contains("repeats") &&
                                              Catch::Contains("delta"));
}

TEST_CASE("The bench runs in chunks, with one delta", "[bench]") {
    const Observer quiet;
    BenchOptions options;
    options.d_model = 16;
    options.layers = 1;
    options.length = 1000;
    options.chunk = 300;
    options.delta = 1e-3;
    options.repeats = 1;
    const BenchReport report =
        bench(options, {.threads = 1, .device = {}, .observer = quiet, .command_line = {}});
    CHECK(report.model[0].chunk == 300);
    CHECK(report.model[1].chunk == 300);
    CHECK(report.model[0].bases == 1000);
    CHECK(report.delta == 1e-3);
}
