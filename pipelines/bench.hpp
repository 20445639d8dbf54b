// bench: how near the model and its ops are to the time of their own matrix products and to the
// bandwidth of the memory, and how far from a scan that nobody has fused.
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
    std::int64_t lanes = 1;
    std::int64_t length = 4096;  // positions of a lane
    std::int64_t chunk = 0;      // positions of a lane at once; 0: the longest that fits
    /// Forward also over windows of so many positions, packed as the commands pack short ones, as
    /// many as make up the same bases; 0: not.
    std::int64_t segment = 0;
    std::optional<double> delta;  // the same step of the scan everywhere; none: as a fresh model
    int repeats = 5;              // interleaved A B A B; medians are reported
    std::uint64_t seed = 0;       // of weights and sequence

    /// Throws Error{usage} with every violated rule in one message.
    void validate() const;
};

/// One thing beside matrix products: the same shapes through `linear`, the same threads. The whole
/// model is beside all its own, an op beside those of one layer in its direction, so that the
/// ratios of a layer's ops add up.
struct BenchRow {
    std::string what;              // "forward", "training step", "selective_scan forward", …
    std::int64_t bases = 0;        // lanes × positions
    double seconds = 0.0;          // median of the repeats
    double spread = 0.0;           // (slowest − fastest) / median
    double product_seconds = 0.0;  // median; 0 where there are no products
    double flops = 0.0;            // multiplications and additions of the products alone
    double bytes = 0.0;            // that have to be read and written at least; 0: not counted
    std::int64_t chunk = 0;        // positions at once, of a whole model
    std::int64_t peak_bytes = 0;   // of the device's memory, of a whole model; 0: not counted
    /// seconds / product_seconds; 0 where there are no products.
    double ratio() const { return product_seconds > 0.0 ? seconds / product_seconds : 0.0; }
    /// 10^9 operations of the products a second, over all of `seconds`.
    double gflops() const { return seconds > 0.0 ? flops / seconds * 1e-9 : 0.0; }
    /// 10^9 bytes a second.
    double gigabytes() const { return seconds > 0.0 ? bytes / seconds * 1e-9 : 0.0; }
    double ns_per_base() const { return seconds / static_cast<double>(bases) * 1e9; }
    double megabases_per_second() const { return static_cast<double>(bases) / seconds * 1e-6; }
};

struct BenchReport {
    std::string device;     // name of the backend, with its instruction set or card
    std::string precision;  // of activations
    int threads = 1;
    std::int64_t d_model = 0;
    std::int64_t layers = 0;
    std::int64_t lanes = 0;
    std::int64_t length = 0;
    std::int64_t op_length = 0;   // of the ops and products alone: less where they would not fit
    std::int64_t segment = 0;     // as in the options
    std::optional<double> delta;  //
    int repeats = 0;
    double copy_gigabytes = 0.0;  // 10^9 bytes a second that a copy reads and writes
    std::vector<BenchRow> model;  // forward, training step; "forward, windows of N"
    std::vector<BenchRow> ops;    // one layer's share of each, forward and backward
    /// The scan's forward and the same by plain steps, over as many bases as the steps' results
    /// fit; no products.
    std::vector<BenchRow> scans;
    std::int64_t scan_lanes = 0;
    std::int64_t scan_length = 0;
    /// Speed with two threads over speed with one; empty where the run has one thread, and on a
    /// device.
    std::optional<double> two_thread_forward;
    std::optional<double> two_thread_step;
    // The floor of the scan, all layers: what no formulation of the recurrence gets by without.
    double scan_exps_per_base = 0.0;        // forward
    double scan_operations_per_base = 0.0;  // forward, exps apart
    double scan_seconds_per_exp = 0.0;      // one layer's forward over its exps

    /// What a row moves at least, as a share of what a copy moves in its time.
    double copy_share(const BenchRow& row) const { return row.gigabytes() / copy_gigabytes; }
};

/// Times what `options` say on the run's device. Nothing is read or written.
BenchReport bench(const BenchOptions& options, const Runtime& runtime);

/// The report as one JSON object, a newline at its end.
std::string bench_json(const BenchReport& report);

}  // namespace mambase::pipelines
