#include "training/consumed_log.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"

namespace rosa::training {

namespace fs = std::filesystem;

ConsumedLog::ConsumedLog(std::unique_ptr<DataSource> source, fs::path folder, int64_t samples_per_step)
    : source_(std::move(source)), folder_(std::move(folder)), samples_per_step_(samples_per_step) {}

void ConsumedLog::start(int64_t first_step, parallel::Communicator& communicator) {
  if (communicator.rank() == 0) drop_lines_from(first_step);
  communicator.barrier();
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "rank_%04d.jsonl", communicator.rank());
  out_.open(folder_ / name.data(), std::ios::app);
  base::require<base::FileError>(out_.is_open(), "can't append to ", (folder_ / name.data()).string());
}

void ConsumedLog::drop_lines_from(int64_t first_step) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  base::require<base::FileError>(!error, "can't create ", folder_.string(), ": ", error.message());
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() != ".jsonl") continue;
    std::ifstream in(entry.path());
    std::string kept;
    for (std::string line; std::getline(in, line);) {
      // A line cut short by a kill fails to parse.
      const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
      if (json.is_object() && json.value("step", first_step) < first_step) kept += line + "\n";
    }
    base::write_file_atomically(entry.path(), kept);
  }
}

Batch ConsumedLog::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  Batch batch = source_->batch(step, first_sample, num_samples);
  nlohmann::ordered_json line = {{"step", step}, {"samples", nlohmann::json::array()}};
  for (int64_t i = 0; i < num_samples; ++i) line["samples"].push_back(step * samples_per_step_ + first_sample + i);
  const std::lock_guard lock(mutex_);
  out_ << line.dump() << "\n" << std::flush;
  base::require<base::FileError>(out_.good(), "can't append to the log of consumed samples in ", folder_.string(),
                                 "; is the disk full?");
  return batch;
}

}  // namespace rosa::training
