// The process as the shell sees it: signals, standard streams, time and memory used.
#pragma once

#include <atomic>
#include <cstdint>
#include <string_view>

namespace mambase::cli {

/// From now on SIGINT, SIGTERM and SIGUSR1 ask for an orderly stop through stop_signal(); a second
/// one of the same kind kills at once. Those that the parent has ignored stay so. A lost reader
/// (SIGPIPE) becomes a failing write.
void install_signal_handlers();

/// The signal that asked for a stop, 0 while none has.
const std::atomic<int>& stop_signal();

/// Ends the process by `signal`, as if it had never been handled.
[[noreturn]] void die_by(int signal);

/// Puts /dev/null on standard streams that are closed, so that no file of ours gets their numbers;
/// writing to a standard output that was closed stays an error.
void secure_standard_streams();

/// Writes to standard output, whole. Throws Error{io}.
void write_stdout(std::string_view text);

/// What close(2) still has to say about standard output (a full disk over a network). Throws
/// Error{io}.
void close_stdout();

/// True where standard output is a pipe that nobody reads any more.
bool stdout_reader_is_gone();

/// To standard error, best effort: nothing can be reported when even that fails.
void write_stderr(std::string_view text) noexcept;
bool stderr_is_terminal();

struct Usage {
    double cpu_seconds = 0.0;        // user and system, all threads
    std::int64_t peak_resident = 0;  // bytes
};
Usage resource_usage();

}  // namespace mambase::cli
