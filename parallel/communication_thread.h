// CommunicationThread: one thread that carries out jobs one by one in the order in which they were submitted, beside
// a thread that computes. It gives its core away while it waits, as long as nobody waits for it. No LibTorch, no MPI.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>

namespace rosa::parallel {

class CommunicationThread {
 public:
  CommunicationThread();
  // Drops what has not begun, ends poll() in the job under way, and joins. A job that is blocked elsewhere is waited
  // for.
  ~CommunicationThread();
  CommunicationThread(const CommunicationThread&) = delete;
  CommunicationThread& operator=(const CommunicationThread&) = delete;

  // now: an idle thread is woken for the job. later: it is left asleep, since wait() comes soon enough.
  enum class Start { now, later };

  // Queues a job and returns at once. After a job has thrown, no further one is begun.
  void submit(std::function<void()> job, Start start = Start::now);

  // Returns when every job submitted so far has run. What the thread has not begun is carried out by the caller, since
  // waking another thread takes as long as a small job. Rethrows what a job threw, now and at every later call.
  void wait();

  // For jobs: calls `done` until it returns true. Between calls it sleeps for some tens of microseconds; while
  // somebody is in wait(), it only yields. Throws CommunicationError when the thread is being ended.
  void poll(const std::function<bool()>& done);

 private:
  void work();
  // Takes the first job and carries it out, with the lock released.
  void run_first(std::unique_lock<std::mutex>& lock);

  std::mutex mutex_;
  // Apart, so that nobody is woken who has nothing to do: that costs as much as a small job.
  std::condition_variable job_arrived_, all_done_, nap_;
  std::deque<std::function<void()>> jobs_;
  std::exception_ptr error_;
  bool busy_ = false;
  std::atomic<bool> ending_ = false;
  std::atomic<bool> awaited_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace rosa::parallel
