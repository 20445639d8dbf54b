#include "kernels/cpu/simd_level.hpp"

#include "base/error.hpp"
#include "kernels/cpu/cpu_table.hpp"
#include "kernels/cpu/gradient_tile.hpp"
#include "kernels/ops/context.hpp"

#include <cstdlib>
#include <string>

#include <catch2/catch.hpp>

using namespace mambase;
using cpu::SimdLevel;

namespace {

/// Sets MAMBASE_SIMD for a scope.
class Asked {
  public:
    explicit Asked(const char* value) {
        const char* const old = std::getenv("MAMBASE_SIMD");
        had_ = old != nullptr;
        old_ = had_ ? old : "";
        ::setenv("MAMBASE_SIMD", value, 1);
    }
    ~Asked() {
        if (had_) {
            ::setenv("MAMBASE_SIMD", old_.c_str(), 1);
        } else {
            ::unsetenv("MAMBASE_SIMD");
        }
    }
    Asked(const Asked&) = delete;
    Asked& operator=(const Asked&) = delete;

  private:
    bool had_ = false;
    std::string old_;
};

}  // namespace

TEST_CASE("MAMBASE_SIMD chooses the level, and its table is the one that ops get") {
    for (const SimdLevel level : {SimdLevel::scalar, SimdLevel::avx2, SimdLevel::avx512}) {
        const Asked asked(std::string(cpu::name(level)).c_str());
        if (cpu::is_supported(level)) {
            CHECK(cpu::choose_simd_level() == level);
            CHECK(&ops::op_table(Device{}) == &cpu::table(level));
        } else {
            CHECK_THROWS_AS(cpu::choose_simd_level(), Error);
        }
    }
}

TEST_CASE("without MAMBASE_SIMD the level is one that the processor has") {
    const Asked asked("");
    CHECK(cpu::is_supported(cpu::choose_simd_level()));
}

TEST_CASE("MAMBASE_SIMD with another word is refused") {
    const Asked asked("sse9");
    CHECK_THROWS_WITH(cpu::choose_simd_level(), Catch::Contains("MAMBASE_SIMD=sse9"));
}

TEST_CASE("the CPU tables lack nothing") {
    for (const SimdLevel level : {SimdLevel::scalar, SimdLevel::avx2, SimdLevel::avx512}) {
        const ops::OpTable& table = cpu::table(level);
        CHECK(std::string(table.name) == "cpu " + std::string(cpu::name(level)));
        CHECK(table.gradient_tile == cpu::kGradientTile);
        CHECK(table.embedding_forward != nullptr);
        CHECK(table.embedding_backward != nullptr);
        CHECK(table.linear_forward != nullptr);
        CHECK(table.linear_backward != nullptr);
        CHECK(table.rms_norm_forward != nullptr);
        CHECK(table.rms_norm_backward != nullptr);
        CHECK(table.causal_conv1d_forward != nullptr);
        CHECK(table.causal_conv1d_backward != nullptr);
        CHECK(table.selective_scan_saved_bytes != nullptr);
        CHECK(table.selective_scan_forward != nullptr);
        CHECK(table.selective_scan_backward != nullptr);
        CHECK(table.cross_entropy_forward != nullptr);
        CHECK(table.cross_entropy_backward != nullptr);
        CHECK(table.pool_forward != nullptr);
        CHECK(table.pool_values != nullptr);
        CHECK(table.pool_backward != nullptr);
        CHECK(table.cast != nullptr);
        CHECK(table.fill != nullptr);
        CHECK(table.norm_sq != nullptr);
        CHECK(table.adamw != nullptr);
    }
}
