// Whether the parity tests of this build have a card to run on, and what its queue keeps.
#include "base/error.hpp"
#include "kernels/tensor/device_queue.hpp"
#include "tests/support/backends.hpp"
#include "tests/support/places.hpp"

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string_view>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;
using namespace mambase::test;

namespace {

bool graphs_are_kept() {
    const char* const graphs = std::getenv("MAMBASE_CUDA_GRAPHS");
    return (graphs == nullptr || std::string_view(graphs) != "0") &&
           std::getenv("MAMBASE_CUDA_SYNC_EACH") == nullptr;
}

}  // namespace

TEST_CASE("parity tests run on the device", "[.gpu]") {
    if (ops::device_count(Device::Kind::cuda) == 0) {
        std::printf("SKIP: no CUDA device\n");
        return;
    }
    CHECK(device_backends("fill", &ops::OpTable::fill).size() == 2);
}

TEST_CASE("a queue replays what it has recorded, on what is there by then") {
    std::vector<Place> queues = places();
    if (queues.size() > 2) {
        queues.pop_back();  // bf16: the same queue
    }
    for (const Place& place : queues) {
        INFO(place.text());
        PlacedContext context(place);
        Tensor host(context.queue().host_memory(), DType::f64, {2}, "test");
        auto* const values = static_cast<double*>(host.view().data());
        Tensor added = context.make(DType::f64, {1});
        Tensor sum = context.make(DType::f64, {1});
        zero(context.queue(), sum.view());
        context.queue().wait();
        // sum += values[0], which lands in values[1]
        const auto work = [&] {
            copy(context.queue(), host.view().slice(0, 0, 1), added.view());
            ops::add(*context, {.x = added.view(), .y = sum.view()});
            copy(context.queue(), sum.view(), host.view().slice(0, 1, 2));
        };
        values[0] = 0.0;
        work();  // so that nothing is loaded while it is recorded
        context.queue().wait();
        values[0] = 1.0;
        const std::unique_ptr<DeviceQueue::Recording> recording = context.queue().record(work);
        context.queue().wait();
        CHECK(values[1] == 1.0);
        CHECK((recording != nullptr) == (place.is_device() && graphs_are_kept()));
        for (const double value : {10.0, 100.0}) {
            values[0] = value;
            recording ? recording->replay() : work();
            context.queue().wait();
        }
        CHECK(values[1] == 111.0);
        // What goes wrong while it is recorded is told, and the queue goes on.
        CHECK_THROWS_AS(context.queue().record([&] {
            work();
            throw Error(ErrorCode::usage, "stop");
        }),
                        Error);
        context.queue().wait();
        values[0] = 1000.0;
        const double before = recording ? 111.0 : values[1];
        work();
        context.queue().wait();
        CHECK(values[1] == before + 1000.0);
    }
}
