// How far a run is, told a few times a second at most.
#pragma once

#include "base/observer.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>

namespace mambase::pipelines {

class Progress {
  public:
    /// `total`: bases in all; 0 where it is not known.
    Progress(const Observer& observer, std::int64_t total);

    /// `bases` more are done; `where` is the record they are from.
    void advance(std::int64_t bases, std::string_view where);

    std::int64_t done() const { return done_; }
    double seconds() const;

  private:
    using Clock = std::chrono::steady_clock;

    const Observer& observer_;
    std::int64_t total_;
    std::int64_t done_ = 0;
    Clock::time_point start_;
    Clock::time_point next_;
};

}  // namespace mambase::pipelines
