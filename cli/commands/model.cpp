#include "cli/commands/commands.hpp"
#include "cli/option_types.hpp"
#include "cli/process.hpp"
#include "pipelines/model_tools.hpp"

#include <memory>
#include <string>

#include <CLI/App.hpp>

namespace mambase::cli {

namespace {

constexpr std::string_view kGroup = "Model directories";

CLI::Option* add_directory(CLI::App& app,
                           const std::string& name,
                           std::string& target,
                           const std::string& help) {
    return add_text(app, name, target, "DIR", help)->required();
}

Runner declare_show(CLI::App& app, CommonOptions& common) {
    struct Options {
        std::string dir;
        bool json = false;
    };
    const auto options = std::make_shared<Options>();
    add_directory(app, "DIR", options->dir, "Model directory");
    add_flag(app, "--json", options->json, "One JSON object");
    declare_console(app, common);
    return [options](const pipelines::Runtime&) {
        write_stdout(pipelines::show_model(options->dir, options->json));
        return ExitCode::done;
    };
}

Runner declare_verify(CLI::App& app, CommonOptions& common) {
    struct Options {
        std::string dir;
        std::string expected;
    };
    const auto options = std::make_shared<Options>();
    add_directory(app, "DIR", options->dir, "Model directory");
    add_text(app, "--expected", options->expected, "FILE.safetensors",
             "Run the input_ids of FILE and compare with its logits, loss, hidden.* and grad.*");
    common.exact = true;
    declare_run(app, common);
    return [options](const pipelines::Runtime& runtime) {
        const auto report = pipelines::verify_model(options->dir, options->expected, runtime);
        write_stdout(report.text());
        return report.ok() ? ExitCode::done : ExitCode::failed;
    };
}

Runner declare_convert(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<pipelines::ConvertOptions>();
    add_directory(app, "IN", options->in, "Model directory in any of the three forms");
    add_directory(app, "OUT", options->out, "Directory to write; must hold no model");
    add_choice(app, "--to", options->to, {"mambase", "hf", "state-spaces"},
               "Ours (config.json with our key), Hugging Face's MambaForCausalLM, or the names of "
               "the original code");
    add_choice(app, "--tokenizer", options->tokenizer, {"dna", "bytes"},
               "To our form, of a model that names none; default: by its vocabulary");
    declare_console(app, common);
    return [options](const pipelines::Runtime& runtime) {
        pipelines::convert_model(*options, runtime);
        return ExitCode::done;
    };
}

Runner declare_init(CLI::App& app, CommonOptions& common) {
    const auto options = std::make_shared<pipelines::InitOptions>();
    add_text(app, "-o,--output", options->output, "DIR", "Directory to write; must hold no model");
    add_text(app, "--preset", options->preset, "NAME", "Shape and context of the model");
    add_seed(app, "--seed", options->seed, "Of the weights");
    declare_console(app, common);
    return [options](const pipelines::Runtime& runtime) {
        pipelines::init_model(*options, runtime);
        return ExitCode::done;
    };
}

}  // namespace

Command model_show_command() {
    return {.name = "model show",
            .group = kGroup,
            .summary = "describes a model directory",
            .synopsis = "[options] DIR",
            .notes = "Examples:\n  mambase model show model\n",
            .declare = declare_show};
}

Command model_verify_command() {
    return {
        .name = "model verify",
        .group = kGroup,
        .summary = "checks a model directory, and its numbers against expected ones",
        .synopsis = "[options] DIR",
        .notes =
            R"(  Checked are header, shapes, finiteness and hash. With --expected, one line a tensor: the largest
  absolute and the relative difference, and the bound; exit 1 where one is passed. Bounds: logits
  2e-5 absolute (against logits64 where FILE has them), loss 1e-6, hidden.* 2e-5 relative, grad.*
  1e-4 relative.

Examples:
  mambase model verify model
  mambase model verify --expected expected.safetensors hf-mamba-a
)",
        .declare = declare_verify};
}

Command model_convert_command() {
    return {.name = "model convert",
            .group = kGroup,
            .summary = "converts between our form, Hugging Face's and the original names",
            .synopsis = "[options] IN OUT",
            .notes = "Examples:\n  mambase model convert --to hf model model-hf\n",
            .declare = declare_convert};
}

Command model_init_command() {
    return {.name = "model init",
            .group = kGroup,
            .summary = "writes a model with fresh weights",
            .synopsis = "-o DIR [options]",
            .notes = "Examples:\n  mambase model init -o fresh --preset tiny --seed 1\n",
            .declare = declare_init};
}

}  // namespace mambase::cli
