// Errors of the library: what went wrong, and where in the user's data.
//
// The library throws Error, never prints and never exits; only cli/ turns a code into an exit
// status.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

namespace mambase {

enum class ErrorCode {
    usage,          // the caller asked for something that has no meaning
    not_found,      // a file, a contig, a tensor that is not there
    io,             // reading or writing failed
    format,         // the content of a file is not what its format says
    unsupported,    // has a meaning, but not in this build or on this device
    shape,          // tensors do not fit each other
    device,         // the accelerator failed or is missing
    out_of_memory,  //
    cancelled,      // stopped on request
    internal,       // a bug of ours
};

/// "usage", "not_found", … for logs and tests.
std::string_view name(ErrorCode code);

/// One line: `file: record 7 (chr1): base 1234: message (while …)`. Every part but the message is
/// optional. The setters return the error so that a throw reads as one sentence:
///     throw Error(ErrorCode::format, "quality shorter than sequence").at(path).record(7,
///     "read/7");
class Error : public std::exception {
  public:
    Error(ErrorCode code, std::string message);

    Error& at(std::string_view file);
    /// 0-based index of the record in its file, and its name (may be empty).
    Error& record(std::int64_t index, std::string_view record_name);
    /// Where in the file or record: `unit` is "byte", "line", "base", "virtual offset", …
    Error& offset(std::int64_t value, std::string_view unit);
    /// What an upper layer was doing; the innermost is added first.
    Error& add(std::string_view doing);

    ErrorCode code() const noexcept { return code_; }
    const std::string& message() const noexcept { return message_; }
    bool has_file() const noexcept { return !file_.empty(); }
    const char* what() const noexcept override { return rendered_.c_str(); }

  private:
    void render();

    ErrorCode code_;
    std::string message_;
    std::string file_;
    std::string record_;
    std::string offset_;
    std::vector<std::string> doing_;
    std::string rendered_;
};

[[noreturn]] void throw_error(ErrorCode code, std::string message);
[[noreturn]] void assertion_failed(const char* condition, const char* file, int line);

}  // namespace mambase

/// For what a user can cause.
#define MAMBASE_REQUIRE(condition, code, message)      \
    do {                                               \
        if (!(condition)) {                            \
            ::mambase::throw_error((code), (message)); \
        }                                              \
    } while (false)

/// For what only we can cause; stays in release builds.
#define MAMBASE_ASSERT(condition)                                        \
    do {                                                                 \
        if (!(condition)) {                                              \
            ::mambase::assertion_failed(#condition, __FILE__, __LINE__); \
        }                                                                \
    } while (false)
