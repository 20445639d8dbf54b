#include "base/bounded_queue.hpp"
#include "base/thread_pool.hpp"

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

using namespace mambase;

TEST_CASE("every task runs once, on any number of threads") {
    for (const int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        for (int round = 0; round < 200; ++round) {
            std::vector<int> runs(static_cast<std::size_t>(round));
            pool.parallel_for(round, [&](std::int64_t i) { ++runs[static_cast<std::size_t>(i)]; });
            for (const int n : runs) {
                REQUIRE(n == 1);
            }
        }
    }
}

TEST_CASE("tasks run once where workers sleep, wake late or miss a call") {
    ThreadPool pool(4);
    for (int round = 0; round < 3000; ++round) {
        const std::int64_t tasks = round % 7;
        std::vector<std::atomic<int>> runs(static_cast<std::size_t>(tasks));
        if (round % 100 == 0) {  // long enough to fall asleep
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
        const bool fails = round % 11 == 0 && tasks > 0;
        try {
            pool.parallel_for(tasks, [&](std::int64_t i) {
                if (round % 500 == 1) {  // the caller falls asleep
                    std::this_thread::sleep_for(std::chrono::milliseconds(2));
                }
                ++runs[static_cast<std::size_t>(i)];
                if (fails && i == 0) {
                    throw std::runtime_error("0");
                }
            });
            REQUIRE_FALSE(fails);
        } catch (const std::runtime_error&) {
            REQUIRE(fails);
        }
        for (const std::atomic<int>& n : runs) {
            REQUIRE((n == 1 || (fails && n == 0)));
        }
    }
}

TEST_CASE("an exception in a task reaches the caller and the pool goes on") {
    ThreadPool pool(3);
    CHECK_THROWS_AS(pool.parallel_for(100,
                                      [](std::int64_t i) {
                                          if (i == 17) {
                                              throw std::runtime_error("17");
                                          }
                                      }),
                    std::runtime_error);
    std::atomic<int> sum{0};
    pool.parallel_for(10, [&](std::int64_t i) { sum += static_cast<int>(i); });
    CHECK(sum == 45);
}

TEST_CASE("a queue delivers in order, closes and cancels") {
    BoundedQueue<int> queue(2);
    std::jthread producer([&] {
        for (int i = 0; i < 100; ++i) {
            if (!queue.push(i)) {
                return;
            }
        }
        queue.close();
    });
    for (int i = 0; i < 100; ++i) {
        REQUIRE(queue.pop() == i);
    }
    CHECK_FALSE(queue.pop());

    BoundedQueue<int> cancelled(1);
    std::jthread blocked([&] {
        while (cancelled.push(1)) {
        }
    });
    cancelled.cancel();
    CHECK_FALSE(cancelled.pop());
}
