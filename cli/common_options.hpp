// Options that commands share (cli.md, "Common to all"). A command declares those that mean
// something to it.
#pragma once

#include "pipelines/reading.hpp"
#include "pipelines/runtime.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/App.hpp>

namespace mambase::cli {

struct CommonOptions {
    bool has_threads = false;
    bool is_run = false;  // computes: it has threads and a device, and says at the end how it went
    std::optional<int> additional_threads;
    std::string device = "auto";
    std::string precision;  // empty: the device's default
    bool exact = false;     // the default is f32 on CUDA too
    bool no_pg = false;
    bool quiet = false;
    bool verbose = false;
    std::string log_json;
};

/// -@, --device, --precision, --no-PG, -q, -v, --log-json.
void declare_run(CLI::App& app, CommonOptions& common);
/// --no-PG alone.
void declare_no_pg(CLI::App& app, CommonOptions& common);
/// -q, -v, --log-json alone, for what computes nothing worth a summary.
void declare_console(CLI::App& app, CommonOptions& common);

/// -m, --model; MAMBASE_MODEL_PATH where it is not given.
CLI::Option* declare_model(CLI::App& app, std::string& model);
/// -@ alone.
void declare_threads(CLI::App& app, CommonOptions& common);

/// Files of any format, -l, --ignore-eof, -T.
void declare_inputs(CLI::App& app,
                    std::vector<std::string>& inputs,
                    bool& ignore_eof,
                    std::string& reference);
/// The same of ReadingOptions.
void declare_sequences(CLI::App& app, pipelines::ReadingOptions& reading);
/// -r, -R.
void declare_regions(CLI::App& app, pipelines::ReadingOptions& reading);
/// All of ReadingOptions: files, -T, -r, -R, --context, --gap, --chunk, --tokenizer.
void declare_reading(CLI::App& app, pipelines::ReadingOptions& reading);
/// Records that are circles.
void declare_circular(CLI::App& app, pipelines::ReadingOptions& reading);
/// "8k" or "whole".
std::int64_t parse_context(std::string_view text);
/// --chunk; 0 is refused.
void declare_chunk(CLI::App& app, std::int64_t& chunk, const std::string& help);
/// --shard, for commands whose outputs merge puts together.
void declare_shard(CLI::App& app, std::optional<pipelines::Shard>& shard);
void declare_dry_run(CLI::App& app, bool& dry_run);

struct DeviceChoice {
    Device device;
    DType precision = DType::f32;  // of activations
};

/// What --device and --precision come to in this build, on this machine. Throws Error{device} for a
/// device that it has not, Error{unsupported} for a precision that the device has not,
/// Error{usage} otherwise.
DeviceChoice choose_device(const CommonOptions& common);

}  // namespace mambase::cli
