#include "parallel/communication_thread.h"

#include <chrono>

#include "base/error.h"
#include "base/thread.h"
#include "base/trace.h"

namespace rosa::parallel {
namespace {

// Short against a bucket on its way, long against what a poll costs.
constexpr std::chrono::microseconds kNap(50);

}  // namespace

CommunicationThread::CommunicationThread()
    : thread_(base::start_thread("the gradients' communication", [this] { work(); })) {}

CommunicationThread::~CommunicationThread() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    jobs_.clear();
  }
  job_arrived_.notify_one();
  nap_.notify_one();
  thread_.join();
}

void CommunicationThread::submit(std::function<void()> job, Start start) {
  {
    const std::lock_guard lock(mutex_);
    if (error_) return;
    jobs_.push_back(std::move(job));
    if (busy_ || start == Start::later) return;  // who is at work looks for more
  }
  job_arrived_.notify_one();
}

void CommunicationThread::wait() {
  std::unique_lock lock(mutex_);
  awaited_ = true;
  nap_.notify_one();
  while (busy_ || !jobs_.empty()) {
    if (busy_) {
      all_done_.wait(lock);
    } else {
      run_first(lock);
    }
  }
  awaited_ = false;
  if (error_) std::rethrow_exception(error_);
}

void CommunicationThread::poll(const std::function<bool()>& done) {
  while (!done()) {
    base::require<base::CommunicationError>(!ending_, "a collective was given up: this rank is ending after an error");
    if (awaited_) {
      std::this_thread::yield();
    } else {
      std::unique_lock lock(mutex_);
      nap_.wait_for(lock, kNap, [this] { return awaited_ || ending_; });
    }
  }
}

void CommunicationThread::work() {
  base::name_trace_thread("communication");
  std::unique_lock lock(mutex_);
  while (true) {
    job_arrived_.wait(lock, [this] { return ending_ || (!busy_ && !jobs_.empty()); });
    if (ending_) return;
    run_first(lock);
  }
}

void CommunicationThread::run_first(std::unique_lock<std::mutex>& lock) {
  std::function<void()> job = std::move(jobs_.front());
  jobs_.pop_front();
  busy_ = true;
  lock.unlock();
  std::exception_ptr error;
  try {
    job();
  } catch (...) {
    error = std::current_exception();
  }
  job = nullptr;  // what it holds is let go before wait() returns
  lock.lock();
  busy_ = false;
  if (error) {
    error_ = error;
    jobs_.clear();
  }
  if (jobs_.empty()) all_done_.notify_one();
}

}  // namespace rosa::parallel
