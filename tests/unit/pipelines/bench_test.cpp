#include "pipelines/bench.hpp"

#include "base/error.hpp"
#include "pipelines/runtime.hpp"

#include <string>

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

using namespace mambase;
using namespace mambase::pipelines;

TEST_CASE("The bench times the model and each op beside products", "[bench]") {
    const Observer quiet;
    const int threads = GENERATE(1, 2);
    BenchOptions options;
    options.d_model = 16;
    options.layers = 2;
    options.length = 300;
    options.repeats = 2;
    const BenchReport report =
        bench(options, {.threads = threads, .device = {}, .observer = quiet, .command_line = {}});
    REQUIRE(report.model.size() == 2);
    CHECK(report.model[0].what == "forward");
    CHECK(report.model[1].what == "training step");
    // 2·rows·Σ in·out of four products a layer and the head: D 16, E 32, N 16, R 1, V 16.
    CHECK(report.model[0].flops ==
          2.0 * 300 * (2 * (16 * 64 + 32 * 33 + 1 * 32 + 32 * 16) + 16 * 16));
    CHECK(report.ops.size() == 20);
    for (const auto* rows : {&report.model, &report.ops}) {
        for (const BenchRow& row : *rows) {
            INFO(row.what);
            CHECK(row.seconds > 0.0);
            CHECK(row.product_seconds > 0.0);
            CHECK(report.ns_per_base(row) == Approx(row.seconds / 300 * 1e9));
        }
    }
    CHECK(report.scan_exps_per_base == 2.0 * (32 * 16 + 3 * 32));
    CHECK(report.two_thread_forward.has_value() == (threads == 2));
    const auto json = nlohmann::json::parse(bench_json(report));
    CHECK(json["model"][0]["ratio"] == report.model[0].ratio());
    CHECK(json.contains("two_threads") == (threads == 2));
}

TEST_CASE("A bench of nothing is refused", "[bench]") {
    BenchOptions options;
    options.length = 0;
    options.repeats = 0;
    CHECK_THROWS_WITH(options.validate(), Catch::Contains("length") && Catch::Contains("repeats"));
}
