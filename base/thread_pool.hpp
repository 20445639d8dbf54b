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
#include <utility>
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
    const std::function<void(std::int64_t)>* body_ = nullptr;
    std::int64_t tasks_ = 0;
    std::atomic<std::int64_t> next_{0};
    std::uint64_t round_ = 0;
    std::atomic<std::uint64_t> posted_{
        0};  // copy of round_ that idle workers may watch without the mutex
    int busy_ = 0;
    bool stop_ = false;
    std::exception_ptr failure_;
    std::vector<std::jthread> workers_;
};

}  // namespace mambase
