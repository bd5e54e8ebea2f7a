// Worker: a thread that does tasks in the order in which they were given, each a little late.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <random>
#include <thread>

namespace fake_gpu {

class Worker {
 public:
  explicit Worker(uint64_t seed) : random_(seed), thread_([this] { run(); }) {}

  // Does what was given before it ends.
  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
      is_held_ = false;
    }
    changed_.notify_all();
    thread_.join();
  }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  void give(std::function<void()> task) {
    {
      const std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
      ++num_given_;
    }
    changed_.notify_all();
  }

  // Waits until everything that was given up to now is done.
  void drain() {
    std::unique_lock lock(mutex_);
    const int64_t goal = num_given_;
    changed_.wait(lock, [&] { return num_done_ >= goal; });
  }

  void set_held(bool held) {
    {
      const std::lock_guard lock(mutex_);
      is_held_ = held;
    }
    changed_.notify_all();
  }

 private:
  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [&] { return (!tasks_.empty() && !is_held_) || (is_ending_ && tasks_.empty()); });
      if (tasks_.empty()) return;
      const auto delay = next_delay();
      lock.unlock();
      std::this_thread::sleep_for(delay);
      lock.lock();
      changed_.wait(lock, [&] { return !is_held_; });
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;
      lock.lock();
      ++num_done_;
      changed_.notify_all();
    }
  }

  // Mostly none, sometimes long enough for other streams to overtake.
  std::chrono::microseconds next_delay() {
    const uint64_t draw = random_() % 100;
    if (draw < 40) return std::chrono::microseconds(0);
    if (draw < 95) return std::chrono::microseconds(random_() % 500);
    return std::chrono::microseconds(1000 + random_() % 3000);
  }

  std::mt19937_64 random_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> tasks_;
  int64_t num_given_ = 0;
  int64_t num_done_ = 0;
  bool is_held_ = false;
  bool is_ending_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace fake_gpu
