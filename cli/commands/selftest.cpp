#include "pipelines/selftest.hpp"

#include "cli/commands/commands.hpp"
#include "cli/process.hpp"

namespace mambase::cli {

namespace {

Runner declare(CLI::App& app, CommonOptions& common) {
    declare_console(app, common);
    return [](const pipelines::Runtime& runtime) {
        const pipelines::SelftestReport report = pipelines::selftest(runtime);
        write_stdout(report.text());
        return report.ok() ? ExitCode::done : ExitCode::failed;
    };
}

}  // namespace

Command selftest_command() {
    return {
        .name = "selftest",
        .group = "This program",
        .summary =
            "runs golden inputs with known results through every kernel path of this machine",
        .synopsis = "[options]",
        .notes =
            R"(  One line for each instruction set of the CPU and for each visible CUDA device in f32 and in bf16:
  forward, loss, gradients and an update of small models against results from double precision, and
  the same bits whatever the chunk, the company and the packing. Exit 1 on any difference.

Examples:
  mambase selftest
)",
        .declare = declare};
}

}  // namespace mambase::cli
