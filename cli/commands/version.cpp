#include "base/version.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/commit.hpp"
#include "cli/process.hpp"
#include "pipelines/build_info.hpp"

namespace mambase::cli {

namespace {

Runner declare(CLI::App& /*app*/, CommonOptions& /*common*/) {
    return [](const pipelines::Runtime& runtime) {
        write_stdout(concat("mambase ", kVersion, '\n',                                //
                            "commit: ", *kCommit == '\0' ? "unknown" : kCommit, '\n',  //
                            "HTSlib: ", pipelines::htslib_version(), '\n',
                            "CUDA: ", pipelines::cuda_summary(), '\n',
                            "CPU backend: ", pipelines::backend_name(runtime.device), '\n',
                            "model format: ", pipelines::model_format_version(), '\n'));
        return ExitCode::done;
    };
}

}  // namespace

Command version_command() {
    return {.name = "version",
            .group = "This program",
            .summary = "version, libraries, instruction sets, format versions",
            .synopsis = "",
            .notes = "",
            .declare = declare};
}

}  // namespace mambase::cli
