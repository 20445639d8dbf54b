#include "pipelines/progress.hpp"

#include "base/text.hpp"

#include <string>

namespace mambase::pipelines {

namespace {

constexpr std::chrono::milliseconds kInterval(500);

}  // namespace

Progress::Progress(const Observer& observer, std::int64_t total)
    : observer_(observer), total_(total), start_(Clock::now()), next_(start_ + kInterval) {}

double Progress::seconds() const {
    return std::chrono::duration<double>(Clock::now() - start_).count();
}

void Progress::advance(std::int64_t bases, std::string_view where) {
    done_ += bases;
    if (Clock::now() < next_) {
        return;
    }
    next_ = Clock::now() + kInterval;
    const auto done = static_cast<double>(done_);
    const double rate = done / seconds();
    std::string text = concat(where, " ", format_bases(done));
    if (total_ > 0) {
        const double left = static_cast<double>(total_ - done_) / rate;
        text += concat(" of ", format_bases(static_cast<double>(total_)), ", ",
                       format_duration(left), " left");
    }
    observer_.progress(concat(text, ", ", format_bases(rate), "/s"));
}

}  // namespace mambase::pipelines
