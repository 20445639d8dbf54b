// Whether the parity tests of this build have a card to run on.
#include "tests/support/backends.hpp"

#include <cstdio>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

TEST_CASE("parity tests run on the device", "[.gpu]") {
    if (ops::device_count(Device::Kind::cuda) == 0) {
        std::printf("SKIP: no CUDA device\n");
        return;
    }
    CHECK(device_backends("fill", &ops::OpTable::fill).size() == 2);
}
