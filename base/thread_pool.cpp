#include "base/thread_pool.hpp"

#include "base/error.hpp"

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

// A worker that has just finished watches for the next call this long before it sleeps: the ops of
// a layer follow each other within microseconds, a futex wake-up costs tens of them.
constexpr int kSpins = 4000;

inline void relax() {
#if defined(__SSE2__)
    _mm_pause();
#else
    std::this_thread::yield();
#endif
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
        ++round_;
        posted_.store(round_, std::memory_order_release);
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
    {
        const std::lock_guard lock(mutex_);
        body_ = &body;
        tasks_ = tasks;
        next_.store(0, std::memory_order_relaxed);
        failure_ = nullptr;
        busy_ = static_cast<int>(workers_.size());
        ++round_;
        posted_.store(round_, std::memory_order_release);
    }
    wake_.notify_all();
    drain();
    std::unique_lock lock(mutex_);
    done_.wait(lock, [this] { return busy_ == 0; });
    body_ = nullptr;
    if (failure_) {
        std::rethrow_exception(std::exchange(failure_, nullptr));
    }
}

void ThreadPool::drain() {
    for (;;) {
        const std::int64_t task = next_.fetch_add(1, std::memory_order_relaxed);
        if (task >= tasks_) {
            return;
        }
        try {
            (*body_)(task);
        } catch (...) {
            const std::lock_guard lock(mutex_);
            if (!failure_) {
                failure_ = std::current_exception();
            }
            next_.store(tasks_, std::memory_order_relaxed);
        }
    }
}

void ThreadPool::work() {
    set_flush_denormals();
    std::uint64_t seen = 0;
    for (;;) {
        for (int spin = 0; spin < kSpins && posted_.load(std::memory_order_acquire) == seen;
             ++spin) {
            relax();
        }
        {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return round_ != seen; });
            seen = round_;
            if (stop_) {
                return;
            }
        }
        drain();
        const std::lock_guard lock(mutex_);
        if (--busy_ == 0) {
            done_.notify_one();
        }
    }
}

}  // namespace mambase
