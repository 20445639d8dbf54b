#include "cli/app.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "base/version.hpp"
#include "cli/command_line.hpp"
#include "cli/command_table.hpp"
#include "cli/commit.hpp"
#include "cli/console.hpp"
#include "cli/exit_code.hpp"
#include "cli/not_yet.hpp"
#include "cli/process.hpp"
#include "cli/threads.hpp"
#include "pipelines/build_info.hpp"

#include <csignal>
#include <exception>
#include <new>
#include <string_view>

#include <CLI/CLI.hpp>

namespace mambase::cli {

namespace {

ExitCode print_error_with(std::string_view command, std::string_view text, ExitCode code) {
    print_error(command, text);
    return code;
}

ExitCode print_not_yet(const std::string& line) {
    write_stderr(line + '\n');
    return ExitCode::usage;
}

// As a shell would have to be told it: words with anything but plain characters in quotes.
std::string quoted(const std::vector<std::string>& words) {
    constexpr std::string_view plain =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
    std::string out = "mambase";
    for (const std::string& word : words) {
        out += ' ';
        if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) {
            out += word;
            continue;
        }
        out += '\'';
        for (const char c : word) {
            out += c == '\'' ? std::string("'\\''") : std::string(1, c);
        }
        out += '\'';
    }
    return out;
}

// How a run that threw ends. Not reached where the process dies by a signal.
ExitCode ending(Console& console, const Error& error) {
    const int signal = stop_signal().load();
    if (error.code() == ErrorCode::cancelled && signal != 0) {
        console.error("stopped on request");
        if (signal == SIGUSR1) {
            return ExitCode::stopped;
        }
        console.exit(128 + signal);
        die_by(signal);
    }
    if (error.code() == ErrorCode::io && stdout_reader_is_gone()) {
        die_by(SIGPIPE);  // "| head" is no error
    }
    console.error(error.what());
    return exit_code(error.code());
}

ExitCode guarded_run(const CommandLine& line, Console& console, const std::string& words) {
    try {
        const CommonOptions& common = line.common();
        pipelines::Runtime runtime{.threads = 1,
                                   .device = Device{},
                                   .observer = console.observer(),
                                   .stop = &stop_signal(),
                                   .no_pg = common.no_pg,
                                   .command_line = words,
                                   .version = kVersion};
        std::string device;
        if (common.has_threads) {
            runtime.threads = computing_threads(common.additional_threads);
        }
        if (common.is_run) {
            const DeviceChoice choice = choose_device(common);
            runtime.device = choice.device;
            runtime.precision = choice.precision;
            device = concat(pipelines::backend_name(runtime.device), ", ", name(runtime.precision),
                            ", ", runtime.threads, runtime.threads == 1 ? " thread" : " threads");
            console.observer().info(concat("computing on ", device));
        }
        const ExitCode code = line.run(runtime);
        if (common.is_run) {
            console.closing(concat(kVersion, *kCommit == '\0' ? "" : "-", kCommit), words, device);
        }
        return code;
    } catch (const Error& error) {
        return ending(console, error);
    } catch (const std::bad_alloc&) {
        console.error("out of memory");
        return ExitCode::device;
    } catch (const std::exception& error) {
        console.error(concat("internal error: ", error.what()));
        return ExitCode::failed;
    }
}

ExitCode run_and_report(const Command& command,
                        const CommandLine& line,
                        const std::vector<std::string>& arguments) {
    install_signal_handlers();
    Console console(std::string(command.name), line.common());
    std::vector<std::string> words;
    for (const std::string_view word : split(command.name, ' ')) {
        words.emplace_back(word);
    }
    words.insert(words.end(), arguments.begin(), arguments.end());
    const ExitCode code = guarded_run(line, console, quoted(words));
    const int signal = stop_signal().load();
    if (code == ExitCode::stopped && (signal == SIGINT || signal == SIGTERM)) {
        console.exit(128 + signal);
        die_by(signal);
    }
    console.exit(static_cast<int>(code));
    return code;
}

ExitCode run_command(const Command& command, const std::vector<std::string>& arguments) {
    try {
        CommandLine line(command);
        line.parse(arguments);
        return run_and_report(command, line, arguments);
    } catch (const CLI::CallForHelp&) {
        write_stdout(help_text(command));
        return ExitCode::done;
    } catch (const CLI::ParseError& error) {
        return print_error_with(
            command.name, concat(error.what(), " (mambase help ", command.name, " tells more)"),
            ExitCode::usage);
    } catch (const NotYetAsked& asked) {
        return print_not_yet(asked.line);
    } catch (const Error& error) {  // of an option's value, or a log that cannot be opened
        return print_error_with(command.name, error.what(), exit_code(error.code()));
    }
}

ExitCode print_no_such_command(std::string_view word) {
    if (is_command_to_come(word)) {
        return print_not_yet(not_yet_line("", word));
    }
    return print_error_with("", no_such_command(word), ExitCode::usage);
}

// Finds the command in the first word or, where that begins a family ("model"), the first two.
ExitCode dispatch(const std::vector<std::string>& words) {
    if (words.empty()) {
        write_stderr(usage_text());
        return ExitCode::usage;
    }
    const std::string& first = words.front();
    if (first == "--help" || first == "-h") {
        write_stdout(usage_text());
        return ExitCode::done;
    }
    const std::string name = first == "--version" ? "version" : first;
    if (is_command_family(name)) {
        if (words.size() == 1) {
            write_stderr(family_text(name));
            return ExitCode::usage;
        }
        if (words[1] == "--help" || words[1] == "-h") {
            write_stdout(family_text(name));
            return ExitCode::done;
        }
        const Command* const command = find_command(concat(name, ' ', words[1]));
        return command == nullptr ? print_no_such_command(concat(name, ' ', words[1]))
                                  : run_command(*command, {words.begin() + 2, words.end()});
    }
    const Command* const command = find_command(name);
    return command == nullptr ? print_no_such_command(name)
                              : run_command(*command, {words.begin() + 1, words.end()});
}

}  // namespace

int run(const std::vector<std::string>& arguments) noexcept {
    secure_standard_streams();
    ExitCode code = ExitCode::failed;
    try {
        code = dispatch({arguments.begin() + (arguments.empty() ? 0 : 1), arguments.end()});
        close_stdout();
    } catch (const Error& error) {
        if (error.code() == ErrorCode::io && stdout_reader_is_gone()) {
            die_by(SIGPIPE);
        }
        code = print_error_with("", error.what(), exit_code(error.code()));
    } catch (const std::exception& error) {
        code = print_error_with("", concat("internal error: ", error.what()), ExitCode::failed);
    }
    return static_cast<int>(code);
}

}  // namespace mambase::cli
