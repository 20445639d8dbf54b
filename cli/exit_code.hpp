// What the process answers with (cli.md, "Exit codes"). SIGINT and SIGTERM are not here: after an
// orderly stop the process dies by the signal itself.
#pragma once

#include "base/error.hpp"

namespace mambase::cli {

enum class ExitCode : int {
    done = 0,
    failed = 1,    // data or run-time failure
    usage = 2,     // what was asked has no meaning, or is not there in this build
    device = 3,    // device or memory
    stopped = 85,  // stopped on SIGUSR1 or --max-time after saving: run again to go on
};

constexpr ExitCode exit_code(ErrorCode code) {
    switch (code) {
        case ErrorCode::usage:
        case ErrorCode::unsupported:
            return ExitCode::usage;
        case ErrorCode::device:
        case ErrorCode::out_of_memory:
            return ExitCode::device;
        case ErrorCode::not_found:
        case ErrorCode::io:
        case ErrorCode::format:
        case ErrorCode::shape:
        case ErrorCode::cancelled:
        case ErrorCode::internal:
            break;
    }
    return ExitCode::failed;
}

}  // namespace mambase::cli
