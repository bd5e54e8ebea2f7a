#include "base/work_stream.h"

#include <sys/prctl.h>

#include <utility>

#include "base/thread.h"
#include "base/trace.h"

namespace rosa::base {

using Clock = std::chrono::steady_clock;

void WorkStream::Event::wait() {
  std::unique_lock lock(mutex_);
  passed_.wait(lock, [this] { return is_passed_; });
}

bool WorkStream::Event::is_passed() {
  const std::lock_guard lock(mutex_);
  return is_passed_;
}

Clock::time_point WorkStream::Event::passed_at() {
  const std::lock_guard lock(mutex_);
  return passed_at_;
}

WorkStream::WorkStream(const std::string& name)
    : thread_(start_thread(concat("the stream ", name), [this, name] { run(name); })) {}

WorkStream::~WorkStream() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  wake_.notify_one();
  thread_.join();
}

void WorkStream::launch(std::function<void()> work, std::chrono::nanoseconds duration) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back([work = std::move(work), duration] {
      const Clock::time_point begin = Clock::now();
      work();
      std::this_thread::sleep_until(begin + duration);
    });
  }
  wake_.notify_one();
}

WorkStream::EventPointer WorkStream::record() {
  auto event = std::make_shared<Event>();
  launch([event] {
    {
      const std::lock_guard lock(event->mutex_);
      event->is_passed_ = true;
      event->passed_at_ = Clock::now();
    }
    event->passed_.notify_all();
  });
  return event;
}

void WorkStream::block_until(EventPointer event) {
  launch([event = std::move(event)] { event->wait(); });
}

void WorkStream::run(const std::string& name) {
  name_trace_thread(name);
  prctl(PR_SET_TIMERSLACK, 1);  // else Linux makes a sleep of 10 us one of 60
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return is_stopping_ || !queue_.empty(); });
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace rosa::base
