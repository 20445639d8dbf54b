#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/command_line.hpp"
#include "cli/commands/commands.hpp"
#include "cli/not_yet.hpp"
#include "cli/process.hpp"

#include <memory>
#include <string>
#include <vector>

#include <CLI/App.hpp>

namespace mambase::cli {

namespace {

std::string manual_of(const std::string& name) {
    if (name.empty()) {
        return usage_text();
    }
    if (is_command_family(name)) {
        return family_text(name);
    }
    if (const Command* const command = find_command(name)) {
        return help_text(*command);
    }
    throw Error(ErrorCode::usage, no_such_command(name));
}

Runner declare(CLI::App& app, CommonOptions& /*common*/) {
    const auto words = std::make_shared<std::vector<std::string>>();
    app.add_option("COMMAND", *words, "One of the list")->type_name("");
    return [words](const pipelines::Runtime&) {
        std::string name;
        for (const std::string& word : *words) {
            name += concat(name.empty() ? "" : " ", word);
        }
        if (is_command_to_come(name)) {
            write_stderr(not_yet_line("help", name) + '\n');
            return ExitCode::usage;
        }
        write_stdout(manual_of(name));
        return ExitCode::done;
    };
}

}  // namespace

Command help_command() {
    return {.name = "help",
            .group = "This program",
            .summary = "this list, or the manual of a command",
            .synopsis = "[COMMAND]",
            .notes = "",
            .declare = declare};
}

}  // namespace mambase::cli
