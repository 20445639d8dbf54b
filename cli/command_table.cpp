#include "cli/command_table.hpp"

#include "base/text.hpp"
#include "cli/commands/commands.hpp"
#include "cli/not_yet.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

namespace mambase::cli {

namespace {

// Insertions, deletions and replacements between two words.
std::size_t edit_distance(std::string_view a, std::string_view b) {
    std::vector<std::size_t> row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j) {
        row[j] = j;
    }
    for (std::size_t i = 1; i <= a.size(); ++i) {
        std::size_t diagonal = row[0];
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            row[j] = std::min({replaced, row[j] + 1, row[j - 1] + 1});
        }
    }
    return row[b.size()];
}

std::string_view nearest_command(std::string_view word) {
    std::string_view nearest;
    std::size_t least = std::max<std::size_t>(2, word.size() / 3) + 1;
    const auto consider = [&](std::string_view name) {
        const std::size_t distance =
            name.starts_with(word) && word.size() >= 2 ? 1 : edit_distance(word, name);
        if (distance < least) {
            least = distance;
            nearest = name;
        }
    };
    for (const Command& command : command_table()) {
        consider(command.name);
    }
    for (const NotYet& row : not_yet_table()) {
        if (row.option.empty()) {
            consider(row.command);
        }
    }
    return nearest;
}

}  // namespace

std::span<const Command> command_table() {
    static const std::array table = {
        pretrain_command(),
        classify_train_command(),
        classify_predict_command(),
        classify_evaluate_command(),
        evaluate_command(),
        embed_command(),
        score_command(),
        generate_command(),
        report_command(),
        merge_command(),
        tokenize_command(),
        model_show_command(),
        model_verify_command(),
        model_convert_command(),
        model_init_command(),
        bench_command(),
        selftest_command(),
        version_command(),
        help_command(),
    };
    return table;
}

const Command* find_command(std::string_view name) {
    for (const Command& command : command_table()) {
        if (command.name == name) {
            return &command;
        }
    }
    return nullptr;
}

bool is_command_family(std::string_view word) {
    const std::span<const Command> table = command_table();
    return std::any_of(table.begin(), table.end(), [word](const Command& command) {
        return command.name.starts_with(concat(word, ' '));
    });
}

std::string no_such_command(std::string_view word) {
    const std::string_view near = nearest_command(word);
    return concat(
        "no command '", word, "'",
        near.empty() ? "; mambase help lists them" : concat("; did you mean '", near, "'?"));
}

}  // namespace mambase::cli
