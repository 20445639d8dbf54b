// The program behind main(): finds the command, parses its options, runs it, reports how it ended.
#pragma once

#include <string>
#include <vector>

namespace mambase::cli {

/// Runs `arguments` (the program's name first) and returns the exit status. Never throws. After an
/// orderly stop on SIGINT or SIGTERM, or when the reader of standard output has gone, the process
/// dies by that signal and this does not return.
int run(const std::vector<std::string>& arguments) noexcept;

}  // namespace mambase::cli
