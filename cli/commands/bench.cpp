#include "pipelines/bench.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace mambase::cli {

namespace {

using Report = pipelines::BenchReport;

std::string cell(std::string text, std::size_t width = 11) {
    text.insert(0, width > text.size() ? width - text.size() : 0, ' ');
    return text;
}

std::string cell_or_dash(bool has_value, double value, int digits) {
    return cell(has_value ? format_fixed(value, digits) : "-");
}

std::string table(const Report& report, const std::vector<pipelines::BenchRow>& rows) {
    constexpr std::size_t name_width = 30;
    std::string out(name_width, ' ');
    for (const char* const title : {"ms", "spread %", "ns/base", "Mbase/s", "products", "ratio",
                                    "GFLOP/s", "MB", "GB/s", "% of copy"}) {
        out += cell(title);
    }
    out += '\n';
    for (const pipelines::BenchRow& row : rows) {
        const bool has_products = row.product_seconds > 0.0;
        const bool has_bytes = row.bytes > 0.0;
        std::string line = row.what;
        line.resize(std::max(name_width, line.size()), ' ');
        line += cell(format_fixed(1e3 * row.seconds, 3));
        line += cell(format_fixed(100.0 * row.spread, 1));
        line += cell(format_fixed(row.ns_per_base(), 1));
        line += cell(format_fixed(row.megabases_per_second(), 3));
        line += cell_or_dash(has_products, 1e3 * row.product_seconds, 3);
        line += cell_or_dash(has_products, row.ratio(), 2);
        line += cell_or_dash(row.flops > 0.0, row.gflops(), 1);
        line += cell_or_dash(has_bytes, 1e-6 * row.bytes, 1);
        line += cell_or_dash(has_bytes, row.gigabytes(), 1);
        line += cell_or_dash(has_bytes, 100.0 * report.copy_share(row), 1);
        out += line + '\n';
    }
    return out;
}

std::string shape(std::int64_t lanes, std::int64_t length) {
    return concat(lanes, lanes == 1 ? " lane of " : " lanes of ", length, " positions");
}

/// How the whole model ran: its chunks, and on a device the peak of its memory.
std::string model_lines(const Report& report) {
    std::string out;
    for (const pipelines::BenchRow& row : report.model) {
        out += concat(row.what, ": ", row.chunk, " positions at once");
        if (row.peak_bytes > 0) {
            out += concat(", peak of the device's memory ", format_bytes(row.peak_bytes));
        }
        out += '\n';
    }
    return out;
}

std::string text(const Report& report) {
    std::string out =
        concat(report.device, ", ", report.precision, ", ", report.threads,
               report.threads == 1 ? " thread: " : " threads: ", report.d_model, " wide, ",
               report.layers, " blocks, ", shape(report.lanes, report.length), ", medians of ",
               report.repeats, '\n', "delta ");
    out += report.delta ? concat(*report.delta, " everywhere")
                        : std::string("as in a fresh model: log-uniform by channel, 1e-3 to 1e-1");
    out +=
        concat("; a copy reads and writes ", format_fixed(report.copy_gigabytes, 1), " GB/s\n\n");
    out += concat("whole model\n", table(report, report.model), model_lines(report),
                  "\none layer's ops");
    if (report.op_length != report.length) {
        out += concat(", ", shape(report.lanes, report.op_length));
    }
    out += concat('\n', table(report, report.ops), "\nscan, one layer, ",
                  shape(report.scan_lanes, report.scan_length), '\n', table(report, report.scans),
                  '\n');
    if (report.two_thread_forward && report.two_thread_step) {
        out += concat("two threads over one: forward ", format_fixed(*report.two_thread_forward, 2),
                      ", training step ", format_fixed(*report.two_thread_step, 2), '\n');
    }
    out += concat(
        "floor of the scan, forward, all layers: ", format_fixed(report.scan_exps_per_base, 0),
        " exps and ", format_fixed(report.scan_operations_per_base, 0),
        " other operations a base; it takes ", format_fixed(1e9 * report.scan_seconds_per_exp, 3),
        " ns an exp\n");
    return out;
}

Runner declare(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<pipelines::BenchOptions>();
    const auto json = std::make_shared<bool>(false);
    add_text(app, "--preset", options->preset, "NAME",
             "Shape of the model; default: 128 wide, 8 blocks");
    add_count(app, "--d-model", options->d_model, "Width, over the preset's");
    add_count(app, "--layers", options->layers, "Blocks, over the preset's");
    add_count(app, "--lanes", options->lanes, "Sequences side by side");
    add_count(app, "--length", options->length, "Positions of each");
    add_count(app, "--chunk", options->chunk,
              "Positions of each at once in the whole model; default: the most that fit");
    add_count(app, "--segment", options->segment, "Forward also over packed windows of so many");
    add_number(app, "--delta", options->delta,
               "Step of the scan, the same everywhere; default: as in a fresh model");
    add_count(app, "--repeats", options->repeats, "Of each, in turns; medians are shown");
    add_seed(app, "--seed", options->seed, "Of weights and sequence");
    add_flag(app, "--json", *json, "One JSON object");
    declare_run(app, common);
    return [options, json](const pipelines::Runtime& runtime) {
        options->validate();
        const Report report = pipelines::bench(*options, runtime);
        write_stdout(*json ? pipelines::bench_json(report) : text(report));
        return ExitCode::done;
    };
}

}  // namespace

Command bench_command() {
    return {
        .name = "bench",
        .group = "This program",
        .summary = "times the kernels and the whole model on this machine",
        .synopsis = "[options]",
        .notes =
            R"(  "products" is the time of the same matrix products alone, "ratio" the time over it. "MB" is what
  an op has to read and write at least, "% of copy" the share of what a copy moves in that time.
  The scan is timed beside the same by plain steps too, each of which leaves its result in memory.

Examples:
  mambase bench
  mambase bench --device cuda --preset small --length 1048576 --delta 1e-3
  mambase bench -@1 --d-model 64 --layers 4 --json
)",
        .declare = declare};
}

}  // namespace mambase::cli
