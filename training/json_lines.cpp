#include "training/json_lines.h"

#include <nlohmann/json.hpp>
#include <string_view>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::concat;
using base::require;
using nlohmann::json;

// The lines of `content` that stay. A last line without its end was cut short.
std::string lines_to_keep(const fs::path& path, std::string_view content,
                          const std::function<bool(const json&)>& keep) {
  std::string kept;
  int64_t number = 0;
  for (size_t start = 0, end = 0; (end = content.find('\n', start)) != std::string_view::npos; start = end + 1) {
    const std::string_view line = content.substr(start, end - start);
    ++number;
    try {
      const json object = json::parse(line);
      require<base::DataError>(object.is_object(), "it is no JSON object");
      if (keep(object)) (kept += line) += "\n";
    } catch (const std::exception& error) {
      throw base::DataError(concat("'", path.string(), "', line ", number, " is damaged (", error.what(),
                                   "): mend or remove the line, or move the file away"));
    }
  }
  return kept;
}

}  // namespace

void filter_json_lines(const fs::path& path, const std::function<bool(const json&)>& keep, int64_t num_bytes) {
  if (!fs::exists(path)) return;
  const std::string content = base::read_file(path, kMaxJsonLinesBytes);
  std::string_view first = content;
  if (num_bytes >= 0) first = first.substr(0, static_cast<size_t>(num_bytes));
  const std::string kept = lines_to_keep(path, first, keep);
  if (kept == content) return;
  if (!content.starts_with(kept)) return base::write_file_atomically(path, kept);
  // Cutting needs no space on a full disk.
  std::error_code error;
  fs::resize_file(path, kept.size(), error);
  require<base::FileError>(!error, "truncate failed for '", path.string(), "': ", error.message());
}

int64_t step_of_line(const json& line, int64_t missing) {
  const auto step = line.find("step");
  if (step == line.end()) return missing;
  require<base::DataError>(step->is_number_integer(), "its \"step\" is no whole number");
  return step->get<int64_t>();
}

void JsonLinesFile::start(int64_t first_step) {
  lines_.reset();  // a run that was rolled back starts again
  std::error_code absent;
  const auto size = static_cast<int64_t>(fs::file_size(path_, absent));
  const int64_t present = absent ? 0 : size;
  if (saved_bytes_ > present) {
    base::log_warning(concat("'", path_.string(), "' has ", present, " bytes, but had ", saved_bytes_,
                             " at the checkpoint: lines before step ", first_step, " are missing"));
  }
  filter_json_lines(
      path_,
      [first_step](const json& line) {
        const int64_t step = step_of_line(line, first_step - 1);
        const bool shows_step = line.value("kind", std::string()) == "step";
        return shows_step ? step < first_step : step <= first_step && first_step > 0;
      },
      saved_bytes_ <= present ? saved_bytes_ : -1);
  lines_.emplace(path_, base::log_warning);
  lines_->open();
}

void JsonLinesFile::write(const std::string& json) {
  require(lines_.has_value(), "JsonLinesFile::write: '", path_.string(), "' was not started");
  lines_->write(json);
}

base::StateDict JsonLinesFile::save_state() const {
  if (lines_) lines_->flush();
  base::StateDict state;
  std::error_code error;
  const auto size = static_cast<int64_t>(fs::file_size(path_, error));
  try {
    if (!error) base::sync_file(path_);
  } catch (const base::FileError&) {
    // The lines are not worth a checkpoint: whoever goes on says which are missing.
  }
  state.values["bytes"] = error ? int64_t{0} : size;
  return state;
}

void JsonLinesFile::load_state(const base::StateDict& state) {
  const auto found = state.values.find("bytes");
  require<base::CheckpointError>(found != state.values.end() && std::holds_alternative<int64_t>(found->second) &&
                                     std::get<int64_t>(found->second) >= 0,
                                 "the metrics' state holds no whole number 'bytes' of at least 0");
  saved_bytes_ = std::get<int64_t>(found->second);
}

}  // namespace rosa::training
