#include "cli/common_options.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/option_types.hpp"
#include "pipelines/build_info.hpp"

#include <string_view>

#include <CLI/CLI.hpp>

namespace mambase::cli {

namespace {

constexpr int kMostAdditional = 4095;

// One path a line; blank lines are passed over. Paths count from the working directory.
std::vector<std::string> read_list(const std::string& path) {
    const std::string text = read_text(path == "-" ? "/dev/stdin" : path);
    std::vector<std::string> files;
    for (std::string_view line : split(text, '\n')) {
        if (line.ends_with('\r')) {
            line.remove_suffix(1);
        }
        if (!line.empty()) {
            files.emplace_back(line);
        }
    }
    if (files.empty()) {
        throw Error(ErrorCode::usage, "names no file").at(path);
    }
    return files;
}

bool is_cuda_name(std::string_view device) {
    if (device == "cuda") {
        return true;
    }
    const std::string_view index =
        device.starts_with("cuda:") ? device.substr(5) : std::string_view();
    return !index.empty() && index.size() <= 3 &&
           index.find_first_not_of("0123456789") == std::string_view::npos;
}

// "2/7"
pipelines::Shard parse_shard(std::string_view text) {
    const std::size_t slash = text.find('/');
    MAMBASE_REQUIRE(slash != std::string_view::npos, ErrorCode::usage,
                    concat("'", text, "' is not of the form I/N"));
    const std::int64_t index = parse_size(text.substr(0, slash), SizeUnits::decimal);
    const std::int64_t count = parse_size(text.substr(slash + 1), SizeUnits::decimal);
    MAMBASE_REQUIRE(index >= 1 && index <= count, ErrorCode::usage,
                    concat("'", text, "': shards count from 1/N to N/N"));
    return {index - 1, count};
}

}  // namespace

void declare_console(CLI::App& app, CommonOptions& common) {
    add_flag(app, "-q,--quiet", common.quiet, "Say nothing but warnings and errors");
    add_flag(app, "-v,--verbose", common.verbose, "Keep every step of the progress as a line")
        ->excludes("--quiet");
    add_text(app, "--log-json", common.log_json, "FILE",
             "Append every event to FILE, each as a line of JSON");
}

void declare_threads(CLI::App& app, CommonOptions& common) {
    common.has_threads = true;
    add_parsed(app, "-@,--threads", "INT",
               "Additional computing threads: INT + 1 compute. Default: MAMBASE_THREADS (in all), "
               "else SLURM_CPUS_PER_TASK, else what the machine allows, at most 8. Changes no "
               "result",
               [&common](const std::string& text) {
                   const std::int64_t count = parse_size(text, SizeUnits::decimal);
                   MAMBASE_REQUIRE(count <= kMostAdditional, ErrorCode::usage,
                                   concat("at most ", kMostAdditional));
                   common.additional_threads = static_cast<int>(count);
               });
}

void declare_run(CLI::App& app, CommonOptions& common) {
    common.is_run = true;
    declare_threads(app, common);
    add_text(app, "--device", common.device, "auto|cpu|cuda|cuda:N", "Where to compute");
    add_choice(app, "--precision", common.precision, {"f32", "bf16"},
               common.exact ? "Of activations; default f32"
                            : "Of activations; default bf16 on CUDA, f32 on the CPU, which has no "
                              "other");
    declare_no_pg(app, common);
    declare_console(app, common);
}

void declare_no_pg(CLI::App& app, CommonOptions& common) {
    add_flag(app, "--no-PG", common.no_pg,
             "No command line and no date in outputs: the same bytes each time");
}

CLI::Option* declare_model(CLI::App& app, std::string& model) {
    return add_text(app, "-m,--model", model, "DIR",
                    "Model directory: ours or one of Hugging Face's MambaForCausalLM. Default: "
                    "MAMBASE_MODEL_PATH")
        ->envname("MAMBASE_MODEL_PATH");
}

void declare_inputs(CLI::App& app,
                    std::vector<std::string>& inputs,
                    bool& ignore_eof,
                    std::string& reference) {
    app.add_option("in.fa", inputs,
                   "FASTA or FASTQ, plain, gzip or bgzip, SAM, BAM or CRAM, told by content; - is "
                   "standard input")
        ->type_name("FILE");
    // After the positional: that one assigns, this one appends.
    add_parsed(app, "-l,--list", "FILE", "Read the names of more inputs from FILE, one a line",
               [&inputs](const std::string& path) {
                   const std::vector<std::string> more = read_list(path);
                   inputs.insert(inputs.end(), more.begin(), more.end());
               });
    add_flag(app, "--ignore-eof", ignore_eof,
             "Accept files without their end marker (bgzip, BAM, CRAM)");
    add_text(app, "-T,--reference", reference, "FILE",
             "FASTA that CRAM files were written against. Default: where REF_CACHE and REF_PATH "
             "say; never a network");
}

void declare_sequences(CLI::App& app, pipelines::ReadingOptions& reading) {
    declare_inputs(app, reading.inputs, reading.ignore_eof, reading.reference);
}

void declare_regions(CLI::App& app, pipelines::ReadingOptions& reading) {
    add_texts(app, "-r,--region", reading.regions, "REGION",
              "Only chr or chr:first-last (1-based, inclusive); may be given again");
    add_text(app, "-R,--regions-file", reading.bed, "FILE.bed",
             "Only the intervals of a BED file (0-based, half-open)");
}

std::int64_t parse_context(std::string_view text) {
    if (text == "whole") {
        return pipelines::kWholeContext;
    }
    const std::int64_t context = parse_size(text, SizeUnits::decimal);
    MAMBASE_REQUIRE(context >= 1, ErrorCode::usage, "must be at least 1, or whole");
    return context;
}

void declare_reading(CLI::App& app, pipelines::ReadingOptions& reading) {
    declare_sequences(app, reading);
    declare_regions(app, reading);
    add_parsed(
        app, "--context", "INT|whole",
        "Read each base with INT to 2 INT bases to its left, by a grid that counts from the "
        "record's start; whole: with all of them, the state carried. Default: the length "
        "that the model was validated for",
        [&context = reading.context](const std::string& text) { context = parse_context(text); });
    add_count(app, "--gap", reading.gap,
              "A run of at least INT bases other than A, C, G, T ends the record for the model");
    declare_chunk(app, reading.chunk, "Bases held at once; default: as suits the device");
    add_choice(app, "--tokenizer", reading.tokenizer, {"dna", "bytes"},
               "For a model that does not name its own; default: by its vocabulary");
}

void declare_circular(CLI::App& app, pipelines::ReadingOptions& reading) {
    add_parsed(app, "--circular", "NAME[,...]|all",
               "Records that are circles: the bases before the first one are the last ones, on the "
               "reverse strand likewise; they are read first, for context alone",
               [&circular = reading.circular](const std::string& text) {
                   for (const std::string_view name : split(text, ',')) {
                       MAMBASE_REQUIRE(!name.empty(), ErrorCode::usage, "a name is empty");
                       circular.emplace_back(name);
                   }
               });
}

void declare_chunk(CLI::App& app, std::int64_t& chunk, const std::string& help) {
    add_parsed(app, "--chunk", "INT", help + " (K, M, G: powers of ten). Changes no result",
               [&chunk](const std::string& text) {
                   chunk = parse_size(text, SizeUnits::decimal);
                   MAMBASE_REQUIRE(chunk >= 1, ErrorCode::usage, "must be at least 1");
               });
}

void declare_shard(CLI::App& app, std::optional<pipelines::Shard>& shard) {
    add_parsed(app, "--shard", "I/N",
               "Do the I-th of N equal parts of the work, I from 1 to N; mambase merge puts what "
               "they write together",
               [&shard](const std::string& text) { shard = parse_shard(text); });
}

void declare_dry_run(CLI::App& app, bool& dry_run) {
    add_flag(app, "--dry-run", dry_run,
             "Print the plan: memory, size of the output, time; write nothing");
}

DeviceChoice choose_device(const CommonOptions& common) {
    const bool asks_cuda = is_cuda_name(common.device);
    MAMBASE_REQUIRE(
        asks_cuda || common.device == "auto" || common.device == "cpu", ErrorCode::usage,
        concat("--device: '", common.device, "' is not one of auto, cpu, cuda, cuda:N"));
    MAMBASE_REQUIRE(!asks_cuda || pipelines::has_cuda(), ErrorCode::device,
                    concat("--device ", common.device,
                           ": this build has no CUDA backend; use --device cpu or auto"));
    DeviceChoice choice;
    if (asks_cuda || (common.device == "auto" && pipelines::cuda_devices() > 0)) {
        choice.device.kind = Device::Kind::cuda;
        if (common.device.starts_with("cuda:")) {
            choice.device.index = std::stoi(common.device.substr(5));
        }
        const bool rounds = common.precision.empty() ? !common.exact : common.precision == "bf16";
        choice.precision = rounds ? DType::bf16 : DType::f32;
        return choice;
    }
    MAMBASE_REQUIRE(common.precision != "bf16", ErrorCode::unsupported,
                    "--precision bf16: the CPU computes in f32 alone");
    return choice;
}

}  // namespace mambase::cli
