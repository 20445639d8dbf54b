// Every row of the command table has a manual that names the command and every option of it, and
// the README knows it.
#include "base/file.hpp"
#include "base/text.hpp"
#include "cli/command_line.hpp"
#include "cli/command_table.hpp"
#include "cli/not_yet.hpp"

#include <set>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::cli;

TEST_CASE("Names of commands are unique, and found by the first word or two") {
    std::set<std::string_view> names;
    for (const Command& command : command_table()) {
        CHECK(names.insert(command.name).second);
        CHECK(find_command(command.name) == &command);
        CHECK_FALSE(command.summary.empty());
        CHECK_FALSE(is_command_to_come(command.name));
    }
    CHECK(find_command("model") == nullptr);
    CHECK(is_command_family("model"));
    CHECK_FALSE(is_command_family("mod"));
}

TEST_CASE("The manual of a command names it and every option") {
    for (const Command& command : command_table()) {
        INFO(command.name);
        const std::string text = help_text(command);
        const CommandLine line(command);
        CHECK(text.find(concat("Usage: mambase ", command.name)) != std::string::npos);
        for (const CLI::Option* const option : line.app().get_options()) {
            if (option->get_group().empty()) {
                continue;
            }
            INFO(option->get_name(true, true));
            CHECK_FALSE(option->get_description().empty());
            for (const std::string& name : option->get_lnames()) {
                CHECK(text.find("--" + name) != std::string::npos);
            }
            for (const std::string& name : option->get_snames()) {
                CHECK(text.find("-" + name + " ") != std::string::npos);
            }
        }
        for (const std::string_view row : split(text, '\n')) {
            INFO(row);
            CHECK(row.size() <= 100);
        }
        CHECK((command.notes.empty() || command.notes.find("Examples:") != std::string::npos));
    }
}

TEST_CASE("The list of commands has each of them, and those to come") {
    const std::string text = usage_text();
    for (const Command& command : command_table()) {
        CHECK(text.find(concat("\n  ", command.name, " ")) != std::string::npos);
    }
    for (const NotYet& row : not_yet_table()) {
        if (row.option.empty()) {
            CHECK(text.find(row.command) != std::string::npos);
        }
    }
}

TEST_CASE("What is not there yet is of a command that is there, and says so") {
    for (const NotYet& row : not_yet_table()) {
        INFO(row.command << ' ' << row.option);
        if (row.option.empty()) {
            CHECK(find_command(row.command) == nullptr);
            continue;
        }
        const Command* const command = find_command(row.command);
        REQUIRE(command != nullptr);
        CommandLine line(*command);
        const std::string option(long_name_of(row));
        try {
            line.parse({"in.fa", option, "x"});
            FAIL("no answer");
        } catch (const NotYetAsked& asked) {
            CHECK(asked.line.starts_with(concat("mambase ", row.command, ": ", option)));
            CHECK(asked.line.find("is not there yet in this version (") != std::string::npos);
        }
    }
}

TEST_CASE("A word near a command is answered with it") {
    CHECK(no_such_command("evaluat") == "no command 'evaluat'; did you mean 'evaluate'?");
    CHECK(no_such_command("emebd") == "no command 'emebd'; did you mean 'embed'?");
    CHECK(no_such_command("pre") == "no command 'pre'; did you mean 'pretrain'?");
    CHECK(no_such_command("model shwo") == "no command 'model shwo'; did you mean 'model show'?");
    CHECK(no_such_command("xyzzy") == "no command 'xyzzy'; mambase help lists them");
}

TEST_CASE("README mentions every command") {
    const std::string readme = read_text(MAMBASE_SOURCE_DIR "/README.md");
    for (const Command& command : command_table()) {
        INFO(command.name);
        CHECK(readme.find(command.name) != std::string::npos);
    }
}
