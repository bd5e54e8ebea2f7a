#include "base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <utility>

#include "base/error.h"
#include "base/thread.h"
#include "base/trace.h"

namespace rosa::base {
namespace {

thread_local const ThreadPool* current_pool = nullptr;
thread_local int current_index = -1;

void end_workers(std::mutex& mutex, bool& stopping, std::condition_variable& wake, std::vector<std::thread>& workers) {
  {
    std::lock_guard lock(mutex);
    stopping = true;
  }
  wake.notify_all();
  for (std::thread& worker : workers) worker.join();
}

}  // namespace

ThreadPool::ThreadPool(int num_threads, const std::string& name) {
  require(num_threads >= 1, "ThreadPool: got ", num_threads, " threads, expected at least 1");
  workers_.reserve(num_threads);
  try {
    for (int index = 0; index < num_threads; ++index) {
      const std::string title = concat(name, " ", index);
      workers_.push_back(start_thread(title, [this, index, title] { work(index, title); }));
    }
  } catch (...) {
    // A thread that is destroyed while it runs would end the process.
    end_workers(mutex_, stopping_, wake_, workers_);
    throw;
  }
}

ThreadPool::~ThreadPool() { end_workers(mutex_, stopping_, wake_, workers_); }

std::future<void> ThreadPool::submit(std::function<void()> task) {
  std::packaged_task<void()> packaged(std::move(task));
  std::future<void> done = packaged.get_future();
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(packaged));
  }
  wake_.notify_one();
  return done;
}

void ThreadPool::parallel_for(int64_t count, const std::function<void(int64_t)>& body) {
  require(worker_index() < 0,
          "ThreadPool::parallel_for: called from a worker of the same pool, which would wait for itself");
  std::atomic<int64_t> next{0};
  const auto run = [&] {
    try {
      for (int64_t index = next++; index < count; index = next++) body(index);
    } catch (...) {
      next = count;
      throw;
    }
  };
  std::vector<std::future<void>> parts;
  for (int64_t part = 0; part < std::min<int64_t>(count, num_threads()); ++part) parts.push_back(submit(run));
  // Every part must have ended before the locals above go away, whatever was thrown.
  for (std::future<void>& part : parts) part.wait();
  for (std::future<void>& part : parts) part.get();
}

int ThreadPool::worker_index() const { return current_pool == this ? current_index : -1; }

void ThreadPool::work(int index, const std::string& name) {
  name_trace_thread(name);
  current_pool = this;
  current_index = index;
  for (;;) {
    std::packaged_task<void()> task;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      task = std::move(queue_.front());
      queue_.pop_front();
    }
    task();
  }
}

}  // namespace rosa::base
