// run_rows: rows of work on threads that live for one call. Threads that last would be gone after a fork, and a later
// call would wait for them for ever.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

namespace rosa::c {

// Work below so many symbols is done before a thread has started.
constexpr int64_t kSymbolsWorthAThread = 4096;

// Calls body(row, worker) for the rows 0 ... count - 1, the worker a `Worker` of the thread's own. Rethrows the first
// exception; rows after it may be left out.
template <class Worker, class Body>
void run_rows(int64_t count, int64_t symbols_in_row, int num_threads, const Body& body) {
  std::atomic<int64_t> next = 0;
  std::exception_ptr failure;
  std::mutex failure_mutex;
  const auto work = [&] {
    try {
      Worker worker;
      for (int64_t row = next++; row < count; row = next++) body(row, worker);
    } catch (...) {
      next = count;
      const std::lock_guard lock(failure_mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const int64_t useful = std::min(count, count * symbols_in_row / kSymbolsWorthAThread);
  std::vector<std::thread> helpers;
  try {
    while (static_cast<int64_t>(helpers.size()) + 1 < std::min<int64_t>(num_threads, useful))
      helpers.emplace_back(work);
  } catch (const std::system_error&) {
    // The system gives no more threads: those that are there do the work.
  } catch (const std::bad_alloc&) {
  }
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace rosa::c
