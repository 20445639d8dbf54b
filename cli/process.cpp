#include "cli/process.hpp"

#include "base/error.hpp"
#include "base/text.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <string>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>

namespace mambase::cli {

namespace {

// A signal handler can reach nothing but an object of static lifetime.
std::atomic<int> asked_to_stop{0};
static_assert(std::atomic<int>::is_always_lock_free);

extern "C" void ask_to_stop(int signal) {
    asked_to_stop.store(signal);
}

Error stdout_error(std::string_view doing, int number) {
    Error error(ErrorCode::io,
                concat("cannot ", doing, ": ", std::generic_category().message(number)));
    error.at("standard output");
    return error;
}

}  // namespace

void install_signal_handlers() {
    struct sigaction action {};
    action.sa_handler = ask_to_stop;
    sigemptyset(&action.sa_mask);
    // Reading goes on by itself after the signal; the flag is looked at between pieces of work.
    action.sa_flags = static_cast<int>(SA_RESTART | SA_RESETHAND);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) {
        struct sigaction inherited {};
        sigaction(signal, nullptr, &inherited);
        if (inherited.sa_handler != SIG_IGN) {  // as a shell's background jobs have SIGINT
            sigaction(signal, &action, nullptr);
        }
    }
    std::signal(SIGPIPE, SIG_IGN);  // NOLINT(cert-err33-c): cannot fail for this signal
}

const std::atomic<int>& stop_signal() {
    return asked_to_stop;
}

void die_by(int signal) {
    struct sigaction action {};
    action.sa_handler = SIG_DFL;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, nullptr);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    sigprocmask(SIG_UNBLOCK, &set, nullptr);
    kill(getpid(), signal);
    std::_Exit(128 + signal);  // not reached: the signal is neither blocked nor handled
}

void secure_standard_streams() {
    constexpr std::array<int, 3> wrong_way = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd < 3; ++fd) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF) {
            // The lowest free number is fd itself. Standard input and output are opened the wrong
            // way round so that using them still fails.
            if (open("/dev/null", wrong_way[static_cast<std::size_t>(fd)]) != fd) {
                std::_Exit(1);
            }
        }
    }
}

void write_stdout(std::string_view text) {
    while (!text.empty()) {
        const ssize_t written = ::write(STDOUT_FILENO, text.data(), text.size());
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            throw stdout_error("write", errno);
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

void close_stdout() {
    if (::close(STDOUT_FILENO) != 0 && errno != EINTR) {
        throw stdout_error("close", errno);
    }
}

bool stdout_reader_is_gone() {
    pollfd entry{STDOUT_FILENO, POLLOUT, 0};
    return poll(&entry, 1, 0) == 1 && (entry.revents & POLLERR) != 0;
}

void write_stderr(std::string_view text) noexcept {
    while (!text.empty()) {
        const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
        if (written < 0) {
            if (errno == EINTR) {
                continue;
            }
            return;
        }
        text.remove_prefix(static_cast<std::size_t>(written));
    }
}

bool stderr_is_terminal() {
    return isatty(STDERR_FILENO) == 1;
}

Usage resource_usage() {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    const auto seconds = [](const timeval& time) {
        return static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    };
    return {seconds(usage.ru_utime) + seconds(usage.ru_stime),
            static_cast<std::int64_t>(usage.ru_maxrss) * 1024};
}

}  // namespace mambase::cli
