#include "training/consumed_log.h"

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/log.h"
#include "training/json_lines.h"

namespace rosa::training {

namespace fs = std::filesystem;

ConsumedLog::ConsumedLog(const DataSource& source, fs::path folder, int64_t samples_per_step, const StagePlace& place)
    : ShiftedSource(source, place.first_data_step),
      folder_(std::move(folder)),
      samples_per_step_(samples_per_step),
      place_(place) {}

void ConsumedLog::start(int64_t first_step, parallel::Communicator& communicator) {
  const std::lock_guard lock(mutex_);
  lines_.reset();  // a run that was rolled back starts again
  communicator.barrier();
  if (communicator.rank() == 0) drop_lines_from(first_step);
  communicator.barrier();
  std::array<char, 32> name{};
  std::snprintf(name.data(), name.size(), "rank_%04d.jsonl", communicator.rank());
  lines_.emplace(folder_ / name.data(), base::log_warning);
  lines_->open();
}

void ConsumedLog::drop_lines_from(int64_t first_step) const {
  std::error_code error;
  fs::create_directories(folder_, error);
  base::require<base::FileError>(!error, "can't create ", folder_.string(), ": ", error.message());
  for (const auto& entry : fs::directory_iterator(folder_)) {
    if (entry.path().extension() != ".jsonl") continue;
    filter_json_lines(entry.path(), [first_step](const base::JsonFields& line) {
      return line.integer("step").value_or(first_step) < first_step;
    });
  }
}

Batch ConsumedLog::batch(int64_t step, int64_t first_sample, int64_t num_samples) const {
  Batch batch = ShiftedSource::batch(step, first_sample, num_samples);
  nlohmann::ordered_json line = {{"step", step}, {"samples", nlohmann::json::array()}};
  const int64_t first = place_.first_sample + (step - place_.first_step) * samples_per_step_ + first_sample;
  for (int64_t i = 0; i < num_samples; ++i) line["samples"].push_back(first + i);
  const std::lock_guard lock(mutex_);
  base::require(lines_.has_value(), "ConsumedLog::batch: the log was not started");
  lines_->write(line.dump());
  return batch;
}

}  // namespace rosa::training
