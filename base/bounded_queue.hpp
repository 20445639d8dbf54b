// A queue between two threads that holds at most `capacity` items.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace mambase {

/// The producer ends with close() (what is queued is still delivered); either side may cancel()
/// (what is queued is dropped and both sides are released).
template <class T>
class BoundedQueue {
  public:
    explicit BoundedQueue(std::size_t capacity) : capacity_(capacity) {}

    /// Waits for space. False when the queue was closed or cancelled: the item was not taken.
    bool push(T item) {
        std::unique_lock lock(mutex_);
        space_.wait(lock, [this] { return items_.size() < capacity_ || closed_; });
        if (closed_) {
            return false;
        }
        items_.push_back(std::move(item));
        lock.unlock();
        filled_.notify_one();
        return true;
    }

    /// Waits for an item. Empty when the queue is closed and drained, or cancelled.
    std::optional<T> pop() {
        std::unique_lock lock(mutex_);
        filled_.wait(lock, [this] { return !items_.empty() || closed_; });
        if (items_.empty()) {
            return std::nullopt;
        }
        std::optional<T> item(std::move(items_.front()));
        items_.pop_front();
        lock.unlock();
        space_.notify_one();
        return item;
    }

    void close() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
        }
        space_.notify_all();
        filled_.notify_all();
    }

    void cancel() {
        {
            const std::lock_guard lock(mutex_);
            closed_ = true;
            items_.clear();
        }
        space_.notify_all();
        filled_.notify_all();
    }

  private:
    const std::size_t capacity_;
    std::mutex mutex_;
    std::condition_variable space_;
    std::condition_variable filled_;
    std::deque<T> items_;
    bool closed_ = false;
};

}  // namespace mambase
