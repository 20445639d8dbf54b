#include "pipelines/lr_schedule.hpp"

#include <cmath>
#include <cstdint>

#include <catch2/catch.hpp>

using mambase::pipelines::LrSchedule;

TEST_CASE("The rate rises in a line, then falls along half a cosine", "[lr_schedule]") {
    const LrSchedule schedule{.peak = 4e-3, .last = 4e-4, .warmup = 4, .steps = 24};
    CHECK(schedule.at(1) == Approx(1e-3));
    CHECK(schedule.at(2) == Approx(2e-3));
    CHECK(schedule.at(4) == 4e-3);
    CHECK(schedule.at(14) == Approx(0.5 * (4e-3 + 4e-4)));  // half-way
    CHECK(schedule.at(9) == Approx(4e-4 + 0.5 * 3.6e-3 * (1.0 + std::sqrt(0.5))));
    CHECK(schedule.at(24) == Approx(4e-4));
    for (std::int64_t step = 5; step <= 24; ++step) {
        CHECK(schedule.at(step) < schedule.at(step - 1));
    }
}

TEST_CASE("A schedule without warm-up, of warm-up alone, of one step", "[lr_schedule]") {
    const LrSchedule cosine{.peak = 1.0, .last = 0.0, .warmup = 0, .steps = 2};
    CHECK(cosine.at(1) == Approx(0.5));
    CHECK(cosine.at(2) == Approx(0.0).margin(1e-15));
    const LrSchedule line{.peak = 1.0, .last = 0.1, .warmup = 2, .steps = 2};
    CHECK(line.at(1) == 0.5);
    CHECK(line.at(2) == 1.0);
    const LrSchedule one{.peak = 1.0, .last = 0.1, .warmup = 1, .steps = 1};
    CHECK(one.at(1) == 1.0);
}
