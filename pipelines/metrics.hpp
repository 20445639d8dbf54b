// metrics.jsonl: the course of a training run, one JSON object a line.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <string_view>

namespace mambase::pipelines {

/// A step:        {"step", "bases", "loss", "bits", "lr", "gradient_norm", "seconds"}
/// A validation:  {"step", "valid_loss", "valid_bits", "valid_bases", "seconds"}, of a classifier
///                {"step", "valid_loss", "valid_accuracy", "valid_windows", "seconds"}
/// step counts from 1; bases is the targets read through this step; losses are means in nats a
/// base (of a classifier: a window), bits the same over ln 2; gradient_norm is the one before
/// clipping; seconds is the time of this step or validation, left out of a log without times.
struct StepMetrics {
    std::int64_t step = 0;
    std::int64_t bases = 0;
    double nats = 0.0;
    double lr = 0.0;
    double gradient_norm = 0.0;
    double seconds = 0.0;
};

struct ValidMetrics {
    std::int64_t step = 0;
    double nats = 0.0;
    std::int64_t bases = 0;
    double seconds = 0.0;
};

struct ValidClassMetrics {
    std::int64_t step = 0;
    double nats = 0.0;
    double accuracy = 0.0;
    std::int64_t windows = 0;
    double seconds = 0.0;
};

double bits(double nats);

/// The lines of a log through `step`; a last line that was cut off is left out. Throws
/// Error{format} naming `file` and the line where another line is not ours.
std::string cut_metrics(std::string_view text, std::int64_t step, const std::string& file);

class MetricsLog {
  public:
    /// Writes `path` anew with the lines `earlier`, then appends. with_times: false for output
    /// that is the same bytes each time. Throws Error{io}, here and below.
    MetricsLog(const std::string& path, std::string_view earlier, bool with_times);

    void add(const StepMetrics& metrics);
    void add(const ValidMetrics& metrics);
    void add(const ValidClassMetrics& metrics);
    /// Waits until what was added is on the disk, so that the log is not behind the saved state.
    void flush();

  private:
    void write(std::string_view line);

    struct Close {
        void operator()(std::FILE* file) const noexcept { static_cast<void>(std::fclose(file)); }
    };
    std::string path_;
    bool with_times_;
    std::int64_t bytes_ = 0;
    std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace mambase::pipelines
