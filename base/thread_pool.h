// ThreadPool: a fixed number of worker threads and one queue. The number is passed in, never discovered here.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace rosa::base {

class ThreadPool {
 public:
  // Starts `num_threads` (at least 1) workers, called `name` and their number in a trace and in the system's tools.
  explicit ThreadPool(int num_threads, const std::string& name = "worker");
  // Finishes what is queued, then joins the workers.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int num_threads() const { return static_cast<int>(workers_.size()); }

  // Queues `task` and returns at once. The future becomes ready when it has run, and rethrows what it threw.
  std::future<void> submit(std::function<void()> task);

  // Calls body(0) ... body(count - 1), each once, on the workers, and returns when all have run. Rethrows the first
  // exception (no further index is begun after it). Not to be called from a worker of this pool.
  void parallel_for(int64_t count, const std::function<void(int64_t)>& body);

  // The number (0 ... num_threads - 1) of the worker of this pool that calls it, or -1 on any other thread.
  int worker_index() const;

 private:
  void work(int index, const std::string& name);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::packaged_task<void()>> queue_;
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace rosa::base
