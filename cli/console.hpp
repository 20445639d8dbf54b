// What a user sees of a run on standard error, and what --log-json keeps of it.
#pragma once

#include "base/observer.hpp"
#include "base/stopwatch.hpp"
#include "cli/common_options.hpp"

#include <mutex>
#include <string>
#include <string_view>

namespace mambase::cli {

/// A line an event: "[mambase embed 12.3s] chr1 4.1 Mb/s". Progress redraws one line on a terminal
/// and is a line every ten seconds elsewhere. Any thread may speak.
class Console {
  public:
    /// `command` is "embed". Throws Error{io} where the log cannot be opened.
    Console(std::string command, const CommonOptions& common);
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;
    ~Console();

    const Observer& observer() const { return observer_; }
    double seconds() const;

    /// "mambase embed: error: …", after everything else was said.
    void error(std::string_view text);
    /// How the run went: version, command line, device, times, memory.
    void closing(std::string_view version, std::string_view command_line, std::string_view device);
    /// The last line of the log; as a shell counts: 128 and the signal for a death by one.
    void exit(int status);

  private:
    void say(std::string_view kind, std::string_view text);
    void progress(std::string_view text);
    void print(std::string_view text);
    void erase_progress();
    void log(std::string_view kind, std::string_view text);

    const Stopwatch clock_;
    const std::string command_;
    const bool quiet_;
    const bool verbose_;
    const bool terminal_;
    Observer observer_;
    std::mutex mutex_;
    double last_progress_ = 0.0;
    bool progress_shown_ = false;
    int log_fd_ = -1;
};

/// "mambase evaluate: error: …" without a console; `command` may be empty.
void print_error(std::string_view command, std::string_view text) noexcept;

/// As a JSON string, quotes included. Bytes that are no valid UTF-8 become U+FFFD.
std::string json_string(std::string_view text);
/// Control characters as \xNN, so that a name in a file cannot move a terminal's cursor; line ends
/// stay.
std::string printable(std::string_view text);

}  // namespace mambase::cli
