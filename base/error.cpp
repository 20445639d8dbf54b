#include "base/error.hpp"

#include <utility>

namespace mambase {

std::string_view name(ErrorCode code) {
    switch (code) {
        case ErrorCode::usage:
            return "usage";
        case ErrorCode::not_found:
            return "not_found";
        case ErrorCode::io:
            return "io";
        case ErrorCode::format:
            return "format";
        case ErrorCode::unsupported:
            return "unsupported";
        case ErrorCode::shape:
            return "shape";
        case ErrorCode::device:
            return "device";
        case ErrorCode::out_of_memory:
            return "out_of_memory";
        case ErrorCode::cancelled:
            return "cancelled";
        case ErrorCode::internal:
            return "internal";
    }
    return "unknown";
}

Error::Error(ErrorCode code, std::string message) : code_(code), message_(std::move(message)) {
    render();
}

Error& Error::at(std::string_view file) {
    file_ = file;
    render();
    return *this;
}

Error& Error::record(std::int64_t index, std::string_view record_name) {
    record_ = "record " + std::to_string(index);
    if (!record_name.empty()) {
        record_ += " (" + std::string(record_name) + ")";
    }
    render();
    return *this;
}

Error& Error::offset(std::int64_t value, std::string_view unit) {
    offset_ = std::string(unit) + " " + std::to_string(value);
    render();
    return *this;
}

Error& Error::add(std::string_view doing) {
    doing_.emplace_back(doing);
    render();
    return *this;
}

void Error::render() {
    rendered_.clear();
    for (const std::string* part : {&file_, &record_, &offset_}) {
        if (!part->empty()) {
            rendered_ += *part + ": ";
        }
    }
    rendered_ += message_;
    for (const std::string& doing : doing_) {
        rendered_ += " (" + doing + ")";
    }
    // One error is one line, whatever a file name or a library's text holds.
    for (char& c : rendered_) {
        if (c == '\n' || c == '\r') {
            c = ' ';
        }
    }
}

void throw_error(ErrorCode code, std::string message) {
    throw Error(code, std::move(message));
}

void assertion_failed(const char* condition, const char* file, int line) {
    throw Error(ErrorCode::internal, std::string("internal error, please report: ") + condition +
                                         " does not hold at " + file + ":" + std::to_string(line));
}

}  // namespace mambase
