// How far the scoring of sequences is: redrawn on a terminal, else a log line now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "launch/process.h"

namespace rosa::launch {

// "needle: 12 of 80 sequences, ETA 1:20". The line goes when the display does.
class SuiteDisplay {
 public:
  explicit SuiteDisplay(const Terminal& terminal);
  ~SuiteDisplay();
  SuiteDisplay(const SuiteDisplay&) = delete;
  SuiteDisplay& operator=(const SuiteDisplay&) = delete;

  // `done` is above 0.
  void show(const std::string& task, int64_t done, int64_t total);

 private:
  using Clock = std::chrono::steady_clock;

  const Terminal terminal_;
  Clock::time_point start_, last_;
};

}  // namespace rosa::launch
