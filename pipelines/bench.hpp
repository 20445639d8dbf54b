// bench: how near the model and its ops are to the time of their own matrix products.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace mambase::pipelines {

struct Runtime;

struct BenchOptions {
    std::string preset;                   // the shape; empty: 128 wide, 8 layers
    std::optional<std::int64_t> d_model;  // over the preset's
    std::optional<std::int64_t> layers;
    std::int64_t length = 4096;  // positions, one lane
    int repeats = 5;             // interleaved A B A B; medians are reported
    std::uint64_t seed = 0;      // of weights and sequence

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// One thing beside matrix products: the same shapes through `linear`, the same threads. The whole
/// model is beside all its own, an op beside those of one layer in its direction, so that the
/// ratios of a layer's ops add up.
struct BenchRow {
    std::string what;              // "forward", "training step", "selective_scan forward", …
    double seconds = 0.0;          // median of the repeats
    double spread = 0.0;           // (slowest − fastest) / median
    double product_seconds = 0.0;  // median; 0 where there are no products
    double flops = 0.0;            // multiplications and additions of the products alone
    /// seconds / product_seconds; 0 where there are no products.
    double ratio() const { return product_seconds > 0.0 ? seconds / product_seconds : 0.0; }
    /// 10^9 operations of the products a second, over all of `seconds`.
    double gflops() const { return seconds > 0.0 ? flops / seconds * 1e-9 : 0.0; }
};

struct BenchReport {
    std::string device;  // name of the backend, with its instruction set
    int threads = 1;
    std::int64_t d_model = 0;
    std::int64_t layers = 0;
    std::int64_t length = 0;
    int repeats = 0;
    std::vector<BenchRow> model;  // forward, training step
    std::vector<BenchRow> ops;    // one layer's share of each, forward and backward
    /// Speed with two threads over speed with one; empty where the run has one thread.
    std::optional<double> two_thread_forward;
    std::optional<double> two_thread_step;
    // The floor of the scan, all layers: what no formulation of the recurrence gets by without.
    double scan_exps_per_base = 0.0;        // forward
    double scan_operations_per_base = 0.0;  // forward, exps apart
    double scan_seconds_per_exp = 0.0;      // one layer's forward over its exps

    double ns_per_base(const BenchRow& row) const;
    double megabases_per_second(const BenchRow& row) const;
};

/// Times what `options` say on one lane. Nothing is read or written.
BenchReport bench(const BenchOptions& options, const Runtime& runtime);

/// The report as one JSON object, a newline at its end.
std::string bench_json(const BenchReport& report);

}  // namespace mambase::pipelines
