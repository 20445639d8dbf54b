#include "pipelines/lr_schedule.hpp"

#include "base/error.hpp"

#include <cmath>
#include <numbers>

namespace mambase::pipelines {

double LrSchedule::at(std::int64_t step) const {
    MAMBASE_ASSERT(step >= 1 && step <= steps);
    if (step <= warmup) {
        return peak * (static_cast<double>(step) / static_cast<double>(warmup));
    }
    const double progress =
        static_cast<double>(step - warmup) / static_cast<double>(steps - warmup);
    return last + 0.5 * (peak - last) * (1.0 + std::cos(std::numbers::pi * progress));
}

}  // namespace mambase::pipelines
