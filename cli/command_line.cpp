#include "cli/command_line.hpp"

#include "base/text.hpp"
#include "cli/not_yet.hpp"

#include <algorithm>
#include <memory>
#include <string_view>

#include <CLI/CLI.hpp>

namespace mambase::cli {

namespace {

constexpr std::size_t kPageWidth = 100;
constexpr std::size_t kHelpColumn = 32;

// Words of `text` in lines that end before the page does, all but the first indented.
std::string wrapped(std::string_view text, std::size_t indent) {
    std::string out;
    std::size_t at = indent;
    for (const std::string_view word : split(text, ' ')) {
        if (!out.empty()) {
            if (at + 1 + word.size() > kPageWidth) {
                out += '\n' + std::string(indent, ' ');
                at = indent;
            } else {
                out += ' ';
                ++at;
            }
        }
        out += word;
        at += word.size();
    }
    return out;
}

// An entry of two columns; a long left one pushes the right one to the next line.
std::string entry(const std::string& left, std::string_view right, std::size_t column) {
    std::string out = "  " + left;
    if (out.size() + 2 > column) {
        out += '\n' + std::string(column, ' ');
    } else {
        out.resize(column, ' ');
    }
    return out + wrapped(right, column) + '\n';
}

std::string option_entry(const CLI::Option& option) {
    std::string left =
        option.get_positional() ? option.get_name(true, false) : option.get_name(false, true);
    // A flag that turns the option off is listed as "--no-rc{false}".
    const std::size_t brace = left.find("{false}");
    if (brace != std::string::npos) {
        left.resize(brace);
    }
    std::replace(left.begin(), left.end(), ',', ' ');
    if (option.get_items_expected_max() > 0 && !option.get_positional()) {
        left += ' ' + option.get_type_name();
    }
    std::string right = option.get_description();
    if (!option.get_default_str().empty()) {
        right += concat(" [", option.get_default_str(), ']');
    }
    return entry(left, right, kHelpColumn);
}

// "Not there yet in this version: --contexts, --by region"
std::string not_yet_note(std::string_view command) {
    std::string list;
    for (const NotYet& row : not_yet_table()) {
        if (row.command == command && !row.option.empty()) {
            list += concat(list.empty() ? "" : ", ", long_name_of(row),
                           row.value.empty() ? "" : " ", row.value);
        }
    }
    return list.empty() ? list : wrapped("Not there yet in this version: " + list, 2) + '\n';
}

std::string row_of(const Command& command) {
    constexpr std::size_t summary_column = 21;
    return entry(std::string(command.name), command.summary, summary_column);
}

}  // namespace

CommandLine::CommandLine(const Command& command)
    : app_(std::string(command.summary), concat("mambase ", command.name)),
      run_(command.declare(app_, common_)) {
    declare_not_yet(app_, command.name);
    app_.get_help_ptr()->description("Print this and end");
}

void CommandLine::parse(const std::vector<std::string>& arguments) {
    app_.parse(std::vector<std::string>(arguments.rbegin(), arguments.rend()));
}

std::string help_text(const Command& command) {
    const CommandLine line(command);
    const auto options = line.app().get_options(
        [](const CLI::Option* option) { return !option->get_group().empty(); });
    std::string out = concat("mambase ", command.name, ": ", command.summary, "\n\nUsage: mambase ",
                             command.name, ' ', command.synopsis, "\n\n");
    for (const CLI::Option* const option : options) {
        if (option->get_positional()) {
            out += option_entry(*option);
        }
    }
    for (const CLI::Option* const option : options) {
        if (!option->get_positional() && option != line.app().get_help_ptr()) {
            out += option_entry(*option);
        }
    }
    out += option_entry(*line.app().get_help_ptr());
    const std::string note = not_yet_note(command.name);
    out += concat(note.empty() ? "" : "\n", note);
    out += concat(command.notes.empty() ? "" : "\n", command.notes);
    return out;
}

std::string usage_text() {
    std::string out =
        "mambase: a Mamba language model of DNA, from FASTA to a trained model and its embeddings\n"
        "\nUsage: mambase COMMAND [options] inputs\n";
    std::string_view group;
    for (const Command& command : command_table()) {
        if (command.group != group) {
            group = command.group;
            out += concat('\n', group, '\n');
        }
        out += row_of(command);
    }
    std::string to_come;
    for (const NotYet& row : not_yet_table()) {
        if (row.option.empty()) {
            to_come += concat(to_come.empty() ? "" : ", ", row.command);
        }
    }
    out += '\n' + wrapped("Not there yet in this version: " + to_come, 2);
    return out + "\n\nThe manual of a command: mambase help COMMAND\n";
}

std::string family_text(std::string_view word) {
    std::string out = concat("Usage: mambase ", word, " COMMAND [options]\n\n");
    for (const Command& command : command_table()) {
        if (command.name.starts_with(concat(word, ' '))) {
            out += row_of(command);
        }
    }
    return out;
}

}  // namespace mambase::cli
