#include "cli/not_yet.hpp"

#include "base/text.hpp"
#include "base/version.hpp"

#include <algorithm>
#include <iterator>

#include <CLI/CLI.hpp>

namespace mambase::cli {

namespace {

constexpr NotYet kTable[] = {
    {"variants", ""},      {"state", ""},         {"evaluate", "--states"},
    {"score", "--states"}, {"embed", "--states"},
};

}  // namespace

std::span<const NotYet> not_yet_table() {
    return kTable;
}

std::string_view long_name_of(const NotYet& row) {
    return row.option.substr(row.option.rfind(',') + 1);
}

bool is_command_to_come(std::string_view word) {
    return std::any_of(std::begin(kTable), std::end(kTable), [word](const NotYet& row) {
        return row.option.empty() && row.command == word;
    });
}

std::string not_yet_line(std::string_view command, std::string_view what) {
    return concat("mambase", command.empty() ? "" : " ", command, ": ", what,
                  " is not there yet in this version (", kVersion, ")");
}

void declare_not_yet(CLI::App& app, std::string_view command) {
    for (const NotYet& row : kTable) {
        if (row.command != command || row.option.empty()) {
            continue;
        }
        const std::string name(long_name_of(row));
        app.add_option_function<CLI::results_t>(std::string(row.option),
                                                [command, name](const CLI::results_t&) {
                                                    throw NotYetAsked{not_yet_line(command, name)};
                                                })
            ->expected(0, CLI::detail::expected_max_vector_size)
            ->group("");  // not in the help: what does not work needs no manual
    }
}

}  // namespace mambase::cli
