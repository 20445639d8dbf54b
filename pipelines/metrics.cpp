#include "pipelines/metrics.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "base/text.hpp"

#include <cerrno>
#include <numbers>
#include <system_error>
#include <unistd.h>

#include <nlohmann/json.hpp>

namespace mambase::pipelines {

double bits(double nats) {
    return nats / std::numbers::ln2;
}

std::string cut_metrics(std::string_view text, std::int64_t step, const std::string& file) {
    std::string kept;
    for (std::int64_t number = 1; !text.empty(); ++number) {
        const std::size_t end = text.find('\n');
        if (end == std::string_view::npos) {
            break;
        }
        const std::string_view line = text.substr(0, end + 1);
        text.remove_prefix(end + 1);
        const auto json = nlohmann::json::parse(line, nullptr, false);
        const bool ours =
            json.is_object() && json.contains("step") && json["step"].is_number_integer();
        if (!ours) {
            throw Error(ErrorCode::format, "not a line of training metrics")
                .at(file)
                .offset(number, "line");
        }
        if (json["step"].get<std::int64_t>() <= step) {
            kept += line;
        }
    }
    return kept;
}

MetricsLog::MetricsLog(const std::string& path, std::string_view earlier, bool with_times)
    : path_(path), with_times_(with_times) {
    write_text(path, earlier);
    file_.reset(std::fopen(path.c_str(), "ab"));
    if (file_ == nullptr) {
        throw Error(ErrorCode::io, std::generic_category().message(errno)).at(path);
    }
    bytes_ = static_cast<std::int64_t>(earlier.size());
}

void MetricsLog::add(const StepMetrics& metrics) {
    std::string line = concat("{\"step\":", metrics.step, ",\"bases\":", metrics.bases,
                              ",\"loss\":", metrics.nats, ",\"bits\":", bits(metrics.nats),
                              ",\"lr\":", metrics.lr, ",\"gradient_norm\":", metrics.gradient_norm);
    if (with_times_) {
        line += concat(",\"seconds\":", format_fixed(metrics.seconds, 4));
    }
    write(line + "}\n");
}

void MetricsLog::add(const ValidMetrics& metrics) {
    std::string line =
        concat("{\"step\":", metrics.step, ",\"valid_loss\":", metrics.nats,
               ",\"valid_bits\":", bits(metrics.nats), ",\"valid_bases\":", metrics.bases);
    if (with_times_) {
        line += concat(",\"seconds\":", format_fixed(metrics.seconds, 4));
    }
    write(line + "}\n");
}

void MetricsLog::add(const ValidClassMetrics& metrics) {
    std::string line =
        concat("{\"step\":", metrics.step, ",\"valid_loss\":", metrics.nats,
               ",\"valid_accuracy\":", metrics.accuracy, ",\"valid_windows\":", metrics.windows);
    if (with_times_) {
        line += concat(",\"seconds\":", format_fixed(metrics.seconds, 4));
    }
    write(line + "}\n");
}

void MetricsLog::flush() {
    if (::fdatasync(fileno(file_.get())) != 0 && errno != EINVAL && errno != EROFS) {
        throw Error(ErrorCode::io, std::generic_category().message(errno)).at(path_);
    }
}

/// Past the stream's buffer: a line is one write, so that whoever reads the log, or goes on after a
/// kill, finds whole lines.
void MetricsLog::write(std::string_view line) {
    const int fd = fileno(file_.get());
    ssize_t written = 0;
    do {
        written = ::write(fd, line.data(), line.size());
    } while (written < 0 && errno == EINTR);
    if (written != static_cast<ssize_t>(line.size())) {
        const int reason = written < 0 ? errno : ENOSPC;  // the one reason for a part of a line
        if (::ftruncate(fd, bytes_) != 0) {
            // Then that part stays, and who goes on passes over it.
        }
        throw Error(ErrorCode::io,
                    concat("cannot write: ", std::generic_category().message(reason)))
            .at(path_);
    }
    bytes_ += written;
}

}  // namespace mambase::pipelines
