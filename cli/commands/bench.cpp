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

std::string cell(std::string text, std::size_t width) {
    text.insert(0, width > text.size() ? width - text.size() : 0, ' ');
    return text;
}

std::string table(const Report& report, const std::vector<pipelines::BenchRow>& rows) {
    constexpr std::size_t name_width = 30;
    constexpr std::size_t width = 11;
    std::string out(name_width, ' ');
    for (const char* const title :
         {"ms", "spread %", "ns/base", "Mbase/s", "products", "ratio", "GFLOP/s"}) {
        out += cell(title, width);
    }
    out += '\n';
    for (const pipelines::BenchRow& row : rows) {
        const bool has_products = row.product_seconds > 0.0;
        std::string line = row.what;
        line.resize(std::max(name_width, line.size()), ' ');
        line += cell(format_fixed(1e3 * row.seconds, 3), width);
        line += cell(format_fixed(100.0 * row.spread, 1), width);
        line += cell(format_fixed(report.ns_per_base(row), 1), width);
        line += cell(format_fixed(report.megabases_per_second(row), 3), width);
        line += cell(has_products ? format_fixed(1e3 * row.product_seconds, 3) : "-", width);
        line += cell(has_products ? format_fixed(row.ratio(), 2) : "-", width);
        line += cell(has_products ? format_fixed(row.gflops(), 1) : "-", width);
        out += line + '\n';
    }
    return out;
}

std::string text(const Report& report) {
    std::string out = concat(report.device, ", ", report.threads,
                             report.threads == 1 ? " thread: " : " threads: ", report.d_model,
                             " wide, ", report.layers, " blocks, ", report.length,
                             " positions, medians of ", report.repeats, "\n\n");
    out += concat("whole model\n", table(report, report.model), "\none layer's ops\n",
                  table(report, report.ops), '\n');
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
    add_count(app, "--length", options->length, "Positions of the one lane");
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
            R"(  "products" is the time of the same matrix products alone, "ratio" the time over it.

Examples:
  mambase bench
  mambase bench -@1 --d-model 64 --layers 4 --json
)",
        .declare = declare};
}

}  // namespace mambase::cli
