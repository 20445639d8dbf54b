// Kinds of option values: how their text is read, and how a default shows in the help.
//
// Everything is parsed here, without locales; what is wrong throws Error{usage} that begins with
// the option's name. A default is shown where the bound variable holds one when it is bound.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/App.hpp>

namespace mambase::cli {

/// The general form, for what needs a reading of its own: `take` gets the text.
CLI::Option* add_parsed(CLI::App& app,
                        const std::string& names,
                        const std::string& type,
                        const std::string& help,
                        std::function<void(const std::string&)> take);

CLI::Option* add_text(CLI::App& app,
                      const std::string& names,
                      std::string& target,
                      const std::string& type,
                      const std::string& help);
/// May be given again and again, one value each.
CLI::Option* add_texts(CLI::App& app,
                       const std::string& names,
                       std::vector<std::string>& target,
                       const std::string& type,
                       const std::string& help);
CLI::Option* add_choice(CLI::App& app,
                        const std::string& names,
                        std::string& target,
                        const std::vector<std::string>& words,
                        const std::string& help);
/// A whole number >= 0; K, M, G stand for powers of ten.
CLI::Option* add_count(CLI::App& app,
                       const std::string& names,
                       std::int64_t& target,
                       const std::string& help);
CLI::Option* add_count(CLI::App& app,
                       const std::string& names,
                       std::optional<std::int64_t>& target,
                       const std::string& help);
CLI::Option* add_count(CLI::App& app,
                       const std::string& names,
                       int& target,
                       const std::string& help);
/// Bytes: K, M, G stand for powers of two.
CLI::Option* add_bytes(CLI::App& app,
                       const std::string& names,
                       std::int64_t& target,
                       const std::string& help);
/// A number of 64 bits, for seeds.
CLI::Option* add_seed(CLI::App& app,
                      const std::string& names,
                      std::uint64_t& target,
                      const std::string& help);
CLI::Option* add_number(CLI::App& app,
                        const std::string& names,
                        double& target,
                        const std::string& help);
CLI::Option* add_number(CLI::App& app,
                        const std::string& names,
                        std::optional<double>& target,
                        const std::string& help);
CLI::Option* add_flag(CLI::App& app,
                      const std::string& names,
                      bool& target,
                      const std::string& help);

/// "90", "90s", "30m", "12h", "2d" in seconds.
double parse_duration(std::string_view text);

/// "-o,--output": "--output".
std::string long_name(std::string_view names);

}  // namespace mambase::cli
