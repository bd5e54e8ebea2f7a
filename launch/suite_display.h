// How far the scoring of sequences is: redrawn on a terminal, else a log line now and then.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "launch/process.h"
#include "training/suite/suite.h"

namespace rosa::launch {

// "needle: 12 of 80 sequences, ETA 1:20", and within a long text "; rosa has read 412.0k of 1.0M tokens". The line goes
// when the display does.
class SuiteDisplay {
 public:
  explicit SuiteDisplay(const Terminal& terminal);
  ~SuiteDisplay();
  SuiteDisplay(const SuiteDisplay&) = delete;
  SuiteDisplay& operator=(const SuiteDisplay&) = delete;

  // `detail`: what stands behind it, as it is.
  void show(const std::string& task, int64_t done, int64_t total, const std::string& detail = "");
  void show(const training::SuitePlace& place);

 private:
  using Clock = std::chrono::steady_clock;

  const Terminal terminal_;
  Clock::time_point start_, last_;
};

}  // namespace rosa::launch
