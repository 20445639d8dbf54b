#include "model/state_bank.hpp"

#include "tests/unit/model/model_fixture.hpp"

#include <limits>

#include <catch2/catch.hpp>

namespace mambase::model {

namespace {

using test::bytes_of;
using test::error_of;
using test::small_config;

void fill(TensorView view, float value) {
    std::fill_n(static_cast<float*>(view.data()), view.count(), value);
}

float first_of(ConstTensorView view) {
    return *static_cast<const float*>(view.data());
}

}  // namespace

TEST_CASE("states: one array holds the convolution's and the scan's of every layer") {
    const ModelConfig config = small_config();
    StateBank bank(config, 2, host_queue());
    CHECK(bank.layout().count() == 3 * 2 * (3 * 24 + 24 * 5));
    CHECK(bank.bytes() == 4 * bank.layout().count());
    CHECK(bank.conv(2).shape() == Shape{2, 3, 24});
    CHECK(bank.ssm(2).shape() == Shape{2, 24, 5});
    CHECK(first_of(bank.values()) == 0.0F);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        fill(bank.conv(layer), 1.0F + static_cast<float>(layer));
        fill(bank.ssm(layer), 10.0F + static_cast<float>(layer));
    }
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        CHECK(first_of(bank.conv(layer)) == 1.0F + static_cast<float>(layer));
        CHECK(first_of(bank.ssm(layer)) == 10.0F + static_cast<float>(layer));
    }
}

TEST_CASE("states: a lane is reset alone, a snapshot brings all back") {
    StateBank bank(small_config(), 3, host_queue());
    fill(bank.values(), 7.0F);
    Tensor snapshot(host_allocator(), DType::f32, {bank.layout().count()}, "snapshot");
    bank.snapshot(snapshot.view());
    bank.reset(1);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        for (std::int64_t lane = 0; lane < 3; ++lane) {
            const float expected = lane == 1 ? 0.0F : 7.0F;
            CHECK(first_of(bank.conv(layer).slice(0, lane, lane + 1)) == expected);
            CHECK(first_of(bank.ssm(layer).slice(0, lane, lane + 1)) == expected);
        }
    }
    bank.restore(snapshot.view());
    CHECK(bytes_of(bank.values()) == bytes_of(snapshot.view()));
    bank.reset();
    CHECK(first_of(bank.values()) == 0.0F);
    CHECK_FALSE(error_of([&] { bank.restore(snapshot.view().slice(0, 0, 5)); }).empty());
    CHECK_FALSE(error_of([] { StateBank(small_config(), 0, host_queue()); }).empty());
}

TEST_CASE("states: a lane goes on from a lane of another bank") {
    StateBank from(small_config(), 2, host_queue());
    StateBank bank(small_config(), 3, host_queue());
    fill(bank.values(), 7.0F);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        fill(from.conv(layer).slice(0, 1, 2), 1.0F + static_cast<float>(layer));
        fill(from.ssm(layer).slice(0, 1, 2), 10.0F + static_cast<float>(layer));
    }
    bank.copy_lane(2, from, 1);
    for (std::int64_t layer = 0; layer < 3; ++layer) {
        for (std::int64_t lane = 0; lane < 3; ++lane) {
            const float change = static_cast<float>(layer);
            CHECK(first_of(bank.conv(layer).slice(0, lane, lane + 1)) ==
                  (lane == 2 ? 1.0F + change : 7.0F));
            const TensorView ssm = bank.ssm(layer).slice(0, lane, lane + 1);
            CHECK(first_of(ssm) == (lane == 2 ? 10.0F + change : 7.0F));
            CHECK(first_of(ssm.slice(1, 23, 24)) == first_of(ssm));
        }
    }
    CHECK_FALSE(error_of([&] { bank.copy_lane(3, from, 0); }).empty());
}

TEST_CASE("states: what is not finite is named by layer and lane") {
    test::CpuContext context;
    StateBank bank(small_config(), 3, host_queue());
    CHECK_NOTHROW(bank.require_finite(*context));
    fill(bank.ssm(1).slice(0, 2, 3).slice(1, 23, 24), std::numeric_limits<float>::infinity());
    CHECK(error_of([&] {
              bank.require_finite(*context);
          }).find("the state of layer 1 in lane 2 is no longer finite") == 0);
    bank.reset();
    fill(bank.conv(2).slice(0, 0, 1), std::numeric_limits<float>::quiet_NaN());
    CHECK(error_of([&] { bank.require_finite(*context); }).find("layer 2 in lane 0") !=
          std::string::npos);
}

}  // namespace mambase::model
