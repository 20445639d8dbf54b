// One command with its options bound: what is parsed, and what its help is made from.
#pragma once

#include "cli/command_table.hpp"

#include <string>
#include <vector>

#include <CLI/App.hpp>

namespace mambase::cli {

class CommandLine {
  public:
    explicit CommandLine(const Command& command);
    CommandLine(const CommandLine&) = delete;
    CommandLine& operator=(const CommandLine&) = delete;
    ~CommandLine() = default;

    /// Throws CLI::ParseError, NotYetAsked, Error{usage}.
    void parse(const std::vector<std::string>& arguments);

    const CLI::App& app() const { return app_; }
    const CommonOptions& common() const { return common_; }
    ExitCode run(const pipelines::Runtime& runtime) const { return run_(runtime); }

  private:
    CLI::App app_;
    CommonOptions common_;
    Runner run_;
};

/// The manual of a command: what it does, every option, notes and examples.
std::string help_text(const Command& command);
/// The list of commands by group, for `mambase help`, and for no arguments at all.
std::string usage_text();
/// The same for the commands that begin with one word ("model").
std::string family_text(std::string_view word);

}  // namespace mambase::cli
