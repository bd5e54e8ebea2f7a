// WorkStream: work that a thread of its own runs in order, and events in it: a device's stream, on the CPU.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

namespace rosa::base {

class WorkStream {
 public:
  // A place in a stream.
  class Event {
   public:
    // Blocks the calling thread until the stream has passed the place.
    void wait();
    bool is_passed();
    // When the stream passed it; only once it has.
    std::chrono::steady_clock::time_point passed_at();

   private:
    friend class WorkStream;
    std::mutex mutex_;
    std::condition_variable passed_;
    bool is_passed_ = false;
    std::chrono::steady_clock::time_point passed_at_;
  };
  using EventPointer = std::shared_ptr<Event>;

  // `name`: of its thread, in a trace.
  explicit WorkStream(const std::string& name);
  // Finishes what is queued.
  ~WorkStream();
  WorkStream(const WorkStream&) = delete;
  WorkStream& operator=(const WorkStream&) = delete;

  // Queues `work`, which must not throw, and returns at once. The stream goes on no earlier than `duration` after it
  // began the work: how long the device is to take.
  void launch(std::function<void()> work, std::chrono::nanoseconds duration = {});
  // Marks the place after what is queued.
  EventPointer record();
  // What is queued from now on waits until `event` is passed.
  void block_until(EventPointer event);
  // Blocks the calling thread until all that is queued is done.
  void synchronize() { record()->wait(); }

 private:
  void run(const std::string& name);

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
  bool is_stopping_ = false;
  std::thread thread_;  // last: it uses the rest
};

}  // namespace rosa::base
