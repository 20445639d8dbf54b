// The commands, listed once: usage, help and the tests read this table.
#pragma once

#include "cli/common_options.hpp"
#include "cli/exit_code.hpp"
#include "pipelines/runtime.hpp"

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include <CLI/App.hpp>

namespace mambase::cli {

/// Does what the options that were bound by `declare` ask. Results go to files or through
/// write_stdout(); throws Error.
using Runner = std::function<ExitCode(const pipelines::Runtime&)>;

struct Command {
    std::string_view name;  // "evaluate", "model show"
    std::string_view group;
    std::string_view summary;
    std::string_view synopsis;  // what follows the name in the usage line
    std::string_view notes;     // lines for the end of the help: what no option says, examples
    /// Binds the command's own options and those that it shares with others.
    Runner (*declare)(CLI::App&, CommonOptions&);
};

std::span<const Command> command_table();
/// nullptr where there is none of that name.
const Command* find_command(std::string_view name);
/// True for the first word of a command of two ("model").
bool is_command_family(std::string_view word);
/// What is said of a word that is no command, with the nearest name where one is near.
std::string no_such_command(std::string_view word);

}  // namespace mambase::cli
