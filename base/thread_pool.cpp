#include "base/thread_pool.hpp"

#include "base/error.hpp"

#include <utility>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace mambase {

void set_flush_denormals() {
#if defined(__SSE2__)
    _mm_setcsr(_mm_getcsr() | 0x8040U);  // FTZ and DAZ
#elif defined(__aarch64__)
    std::uint64_t fpcr = 0;
    __asm__ volatile("mrs %0, fpcr" : "=r"(fpcr));
    __asm__ volatile("msr fpcr, %0" ::"r"(fpcr | (1ULL << 24)));
#endif
}

namespace {

// Who has nothing to do watches for it this long before it sleeps: the ops of a layer follow each
// other within microseconds, a futex wake-up costs tens of them. For the same reason a call waits
// for its tasks alone, not for every worker to have seen it.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__SSE2__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
}

/// False where it has not come about in that time.
template <class Condition>
bool spin_until(Condition holds) {
    for (int spin = 0; spin < kSpins; ++spin) {
        if (holds()) {
            return true;
        }
        relax();
    }
    return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
    MAMBASE_REQUIRE(threads >= 1, ErrorCode::usage, "a thread pool needs at least one thread");
    set_flush_denormals();
    workers_.reserve(static_cast<std::size_t>(threads - 1));
    for (int i = 1; i < threads; ++i) {
        workers_.emplace_back([this] { work(); });
    }
}

ThreadPool::~ThreadPool() {
    {
        const std::lock_guard lock(mutex_);
        stop_ = true;
    }
    wake_.notify_all();
}

void ThreadPool::parallel_for(std::int64_t tasks, const std::function<void(std::int64_t)>& body) {
    if (tasks <= 0) {
        return;
    }
    if (tasks == 1 || workers_.empty()) {
        for (std::int64_t i = 0; i < tasks; ++i) {
            body(i);
        }
        return;
    }
    body_ = &body;
    tasks_ = tasks;
    unfinished_ = tasks;
    left_ = tasks;  // from here on tasks are taken
    // A worker counts itself among the sleepers before it looks at left_ for the last time.
    if (sleepers_ > 0) {
        { const std::lock_guard lock(mutex_); }
        wake_.notify_all();
    }
    drain();
    if (!spin_until([this] { return unfinished_.load(std::memory_order_acquire) == 0; })) {
        std::unique_lock lock(mutex_);
        caller_sleeps_ = true;
        done_.wait(lock, [this] { return unfinished_ == 0; });
        caller_sleeps_ = false;
    }
    if (failure_) {
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
}

void ThreadPool::drain() {
    for (;;) {
        std::int64_t left = left_.load(std::memory_order_acquire);
        do {
            if (left == 0) {
                return;
            }
        } while (!left_.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel));
        std::int64_t ended = 1;
        try {
            (*body_)(tasks_ - left);
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!failure_) {
                failure_ = std::current_exception();
            }
            ended += left_.exchange(0);  // those are skipped
        }
        if (unfinished_.fetch_sub(ended) == ended && caller_sleeps_) {
            { const std::lock_guard lock(mutex_); }
            done_.notify_one();
        }
    }
}

void ThreadPool::work() {
    set_flush_denormals();
    const auto is_called = [this] { return left_ > 0 || stop_; };
    for (;;) {
        if (!spin_until(is_called)) {
            std::unique_lock lock(mutex_);
            ++sleepers_;
            wake_.wait(lock, is_called);
            --sleepers_;
        }
        if (stop_) {
            return;
        }
        drain();
    }
}

}  // namespace mambase
