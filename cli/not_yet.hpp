// What cli.md promises and this version does not have: every such word answers with one line and
// exit 2. One table; a row goes when its feature comes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <CLI/App.hpp>

namespace mambase::cli {

/// A command that is not there (option empty), or an option of a command.
struct NotYet {
    std::string_view command;
    std::string_view option;  // as CLI11 wants it: "-T,--reference"
};

std::span<const NotYet> not_yet_table();
/// "--reference"
std::string_view long_name_of(const NotYet& row);
bool is_command_to_come(std::string_view word);

/// "mambase evaluate: --contexts is not there yet in this version (0.1.0)"
std::string not_yet_line(std::string_view command, std::string_view what);

/// Makes the rows of `command` throw NotYetAsked when they are asked for. After the command's own
/// options.
void declare_not_yet(CLI::App& app, std::string_view command);

/// Thrown while options are parsed; not an Error, because its line is no error of the user's.
struct NotYetAsked {
    std::string line;
};

}  // namespace mambase::cli
