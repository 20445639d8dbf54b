// A fixed set of threads that share the tasks 0 … n−1.
//
// What a task computes may depend on its index alone, so results never depend on the number of
// threads: callers cut work into tasks by size, not by thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace mambase {

/// Denormals count as zero and are flushed to zero on the calling thread, so that they cost nothing
/// and mean the same everywhere. Every thread that computes calls it; the pool does so for its own.
void set_flush_denormals();

class ThreadPool {
  public:
    /// `threads` in all, the caller of parallel_for included; at least 1.
    explicit ThreadPool(int threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;
    ThreadPool(ThreadPool&&) = delete;
    ThreadPool& operator=(ThreadPool&&) = delete;

    int threads() const noexcept { return static_cast<int>(workers_.size()) + 1; }

    /// Runs body(0) … body(tasks − 1), each once, and returns when all are done. The first
    /// exception (by time) is rethrown here after every started task has ended; tasks not yet
    /// started are then skipped. Not to be called from inside a task, nor from two threads at once.
    void parallel_for(std::int64_t tasks, const std::function<void(std::int64_t)>& body);

  private:
    void work();
    void drain();

    std::mutex mutex_;
    std::condition_variable wake_;
    std::condition_variable done_;
    // Of the call under way; whoever has taken one of its tasks may read the first two, since the
    // call lasts until that task has ended.
    const std::function<void(std::int64_t)>* body_ = nullptr;
    std::int64_t tasks_ = 0;
    std::exception_ptr failure_;  // under mutex_
    // Each on a cache line of its own: one is watched while the other is written.
    alignas(64) std::atomic<std::int64_t> left_{0};        // tasks that nobody has taken
    alignas(64) std::atomic<std::int64_t> unfinished_{0};  // and those that are not done
    std::atomic<int> sleepers_{0};                         // workers that want to be woken
    std::atomic<bool> caller_sleeps_{false};
    std::atomic<bool> stop_{false};
    std::vector<std::jthread> workers_;
};

}  // namespace mambase
