#include "cli/console.hpp"

#include "base/error.hpp"
#include "base/text.hpp"
#include "cli/process.hpp"

#include <cerrno>
#include <cstdint>
#include <fcntl.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace mambase::cli {

namespace {

constexpr double kRedrawSeconds = 0.1;
constexpr double kProgressSeconds = 10.0;

std::string hex_byte(unsigned char byte) {
    constexpr std::string_view digits = "0123456789abcdef";
    return {digits[byte >> 4U], digits[byte & 15U]};
}

// Length of the UTF-8 sequence at the start of `text`, 0 where it is none.
std::size_t utf8_length(std::string_view text) {
    const auto byte = [text](std::size_t i) {
        return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
    };
    const unsigned first = byte(0);
    std::size_t length = 0;
    std::uint32_t value = 0;
    std::uint32_t smallest = 0;
    if (first < 0x80U) {
        return 1;
    }
    if ((first & 0xE0U) == 0xC0U) {
        length = 2;
        value = first & 0x1FU;
        smallest = 0x80;
    } else if ((first & 0xF0U) == 0xE0U) {
        length = 3;
        value = first & 0x0FU;
        smallest = 0x800;
    } else if ((first & 0xF8U) == 0xF0U) {
        length = 4;
        value = first & 0x07U;
        smallest = 0x10000;
    }
    for (std::size_t i = 1; i < length; ++i) {
        if ((byte(i) & 0xC0U) != 0x80U) {
            return 0;
        }
        value = (value << 6U) | (byte(i) & 0x3FU);
    }
    const bool surrogate = value >= 0xD800U && value <= 0xDFFFU;
    return length == 0 || value < smallest || value > 0x10FFFFU || surrogate ? 0 : length;
}

}  // namespace

std::string json_string(std::string_view text) {
    std::string out = "\"";
    while (!text.empty()) {
        const char c = text.front();
        const std::size_t length = utf8_length(text);
        if (c == '"' || c == '\\') {
            out += concat('\\', c);
        } else if (c == '\n') {
            out += "\\n";
        } else if (static_cast<unsigned char>(c) < 0x20U || c == '\x7f') {
            out += "\\u00" + hex_byte(static_cast<unsigned char>(c));
        } else if (length == 0) {
            out += "\\ufffd";
        } else {
            out += text.substr(0, length);
        }
        text.remove_prefix(length == 0 ? 1 : length);
    }
    return out + '"';
}

std::string printable(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto byte = static_cast<unsigned char>(c);
        if ((byte < 0x20U && c != '\n') || byte == 0x7FU) {
            out += "\\x" + hex_byte(byte);
        } else {
            out += c;
        }
    }
    return out;
}

void print_error(std::string_view command, std::string_view text) noexcept {
    write_stderr(
        concat("mambase", command.empty() ? "" : " ", command, ": error: ", printable(text), '\n'));
}

Console::Console(std::string command, const CommonOptions& common)
    : command_(std::move(command)),
      quiet_(common.quiet),
      verbose_(common.verbose),
      terminal_(stderr_is_terminal()) {
    if (!common.log_json.empty()) {
        log_fd_ = ::open(common.log_json.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        if (log_fd_ < 0) {
            throw Error(ErrorCode::io,
                        concat("cannot open the log: ", std::generic_category().message(errno)))
                .at(common.log_json);
        }
    }
    observer_.on_info = [this](std::string_view text) { say("info", text); };
    observer_.on_warning = [this](std::string_view text) { say("warning", text); };
    observer_.on_progress = [this](std::string_view text) { progress(text); };
}

Console::~Console() {
    erase_progress();
    if (log_fd_ >= 0) {
        ::close(log_fd_);
    }
}

double Console::seconds() const {
    return clock_.seconds();
}

void Console::erase_progress() {
    if (std::exchange(progress_shown_, false)) {
        write_stderr("\r\x1b[K");
    }
}

void Console::print(std::string_view text) {
    erase_progress();
    std::string out;
    const std::string shown = printable(text);
    for (const std::string_view line : split(shown, '\n')) {
        if (!line.empty()) {
            out += concat("[mambase ", command_, ' ', format_duration(seconds()), "] ", line, '\n');
        }
    }
    write_stderr(out);
}

void Console::say(std::string_view kind, std::string_view text) {
    const std::lock_guard lock(mutex_);
    log(kind, text);
    if (kind == "warning") {
        print(concat("warning: ", text));
    } else if (!quiet_) {
        print(text);
    }
}

void Console::progress(std::string_view text) {
    const std::lock_guard lock(mutex_);
    log("progress", text);
    const double now = seconds();
    const bool redraw = terminal_ && !verbose_;
    const double pause = verbose_ ? 0.0 : (redraw ? kRedrawSeconds : kProgressSeconds);
    if (quiet_ || now - last_progress_ < pause) {
        return;
    }
    last_progress_ = now;
    if (!redraw) {
        print(text);
        return;
    }
    write_stderr(
        concat("\r\x1b[K[mambase ", command_, ' ', format_duration(now), "] ", printable(text)));
    progress_shown_ = true;
}

void Console::error(std::string_view text) {
    const std::lock_guard lock(mutex_);
    log("error", text);
    erase_progress();
    print_error(command_, text);
}

void Console::closing(std::string_view version,
                      std::string_view command_line,
                      std::string_view device) {
    const double wall = seconds();
    const Usage usage = resource_usage();
    say("info", concat("mambase ", version, ": ", command_line));
    say("info", concat(device, ", wall ", format_duration(wall), ", CPU ",
                       format_duration(usage.cpu_seconds), ", peak memory ",
                       format_bytes(usage.peak_resident)));
}

void Console::exit(int status) {
    const std::lock_guard lock(mutex_);
    log("exit", concat(status));
}

void Console::log(std::string_view kind, std::string_view text) {
    if (log_fd_ < 0) {
        return;
    }
    const std::string line = concat(
        "{\"seconds\": ", format_fixed(seconds(), 3), ", \"command\": ", json_string(command_),
        ", \"event\": ", json_string(kind), ", \"text\": ", json_string(text), "}\n");
    const ssize_t written = ::write(log_fd_, line.data(), line.size());
    if (written != static_cast<ssize_t>(line.size())) {
        // A run of hours does not end because its log cannot be kept.
        ::close(std::exchange(log_fd_, -1));
        print("warning: the log cannot be written any more");
    }
}

}  // namespace mambase::cli
