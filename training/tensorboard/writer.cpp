#include "training/tensorboard/writer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/host_name.h"
#include "base/log.h"
#include "training/tensorboard/record.h"

namespace rosa::training::tensorboard {
namespace {

namespace fs = std::filesystem;
using base::concat;

// TensorBoard knows event files by the first part of their names and reads them in the order of these; the last part
// says whose they are.
constexpr std::string_view kPrefix = "events.out.tfevents.", kSuffix = ".rosa";
constexpr int64_t kMaxFileBytes = int64_t{1} << 36;

double wall_time() {
  return std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<fs::path> event_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code absent;
  for (const auto& entry : fs::directory_iterator(folder, absent)) {
    const std::string name = entry.path().filename().string();
    if (name.starts_with(kPrefix) && name.ends_with(kSuffix)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

// Later in the order than all that are there, whatever the clock says.
std::string new_name(const std::vector<fs::path>& files) {
  auto seconds = static_cast<long long>(wall_time());
  if (!files.empty()) {
    const std::string last = files.back().filename().string().substr(kPrefix.size());
    seconds = std::max(seconds, std::strtoll(last.c_str(), nullptr, 10) + 1);
  }
  std::array<char, 24> digits{};
  std::snprintf(digits.data(), digits.size(), "%010lld", seconds);
  return concat(kPrefix, digits.data(), ".", base::host_name(), kSuffix);
}

// What of a file stays, and what of the rest is written again.
struct Cut {
  size_t kept_bytes = 0;
  std::vector<std::string> again;
};

Cut cut_of(const fs::path& path, std::string_view content, int64_t first_step) {
  Cut cut;
  RecordReader records(content);
  bool is_kept = true;
  while (const auto record = records.next()) {
    const auto place = place_of(*record);
    if (!place) break;
    is_kept = is_kept && place->step < first_step;
    if (is_kept) {
      cut.kept_bytes = records.position();
    } else if (place->is_evaluation && place->step == first_step && first_step > 0) {
      cut.again.emplace_back(*record);
    }
  }
  if (!records.is_at_end() && !records.is_cut()) {
    base::log_warning(concat("'", path.string(), "' is damaged at byte ", records.position(),
                             ": TensorBoard will not show what stood there; metrics.jsonl has it"));
  }
  return cut;
}

}  // namespace

std::vector<std::string> cut_event_files(const fs::path& folder, int64_t first_step) {
  std::vector<std::string> again;
  for (const fs::path& path : event_files(folder)) {
    const std::string content = base::read_file(path, kMaxFileBytes);
    Cut cut = cut_of(path, content, first_step);
    again.insert(again.end(), cut.again.begin(), cut.again.end());
    std::error_code error;
    // Cutting needs no space on a full disk. A file of which nothing is left stays: a TensorBoard that has it open
    // finds no later one without it.
    if (cut.kept_bytes < content.size()) fs::resize_file(path, cut.kept_bytes, error);
    base::require<base::FileError>(!error, "can't cut '", path.string(), "': ", error.message());
  }
  return again;
}

void Writer::on_start(int64_t first_step, int64_t) {
  file_.reset();  // a run that was rolled back starts again
  events_ = {};
  const std::string name = new_name(event_files(settings_.folder));
  const std::vector<std::string> evaluations = cut_event_files(settings_.folder, first_step);
  file_.emplace(settings_.folder / name, base::log_warning);
  if (first_step == 0) file_->open();  // a run that goes on may do so on a full disk
  write(version_event(wall_time()));
  if (first_step > 0) write(restart_event(wall_time(), first_step));
  for (const std::string& evaluation : evaluations) write(evaluation);
  write(hyperparameters_event(wall_time(), first_step, settings_.recipe));
  write(text_event(wall_time(), first_step, "configuration", settings_.configuration));
}

void Writer::on_step(const StepMetrics& metrics) {
  if (!is_logged_step(metrics.step, metrics.num_steps, settings_.every)) return;
  write(events_.step(wall_time(), metrics));
}

void Writer::on_evaluation(const EvaluationMetrics& metrics) {
  write(events_.evaluation(wall_time(), metrics));
  int64_t number = 0;
  for (const TextSample& sample : metrics.samples) write(sample_event(wall_time(), metrics.step, ++number, sample));
}

void Writer::write(const std::string& event) {
  base::require(file_.has_value(), "tensorboard::Writer: was not started");
  file_->write_whole(framed(event));
}

}  // namespace rosa::training::tensorboard
