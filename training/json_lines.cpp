#include "training/json_lines.h"

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

constexpr int64_t kMaxJsonLinesBytes = int64_t{1} << 32;

}  // namespace

void filter_json_lines(const fs::path& path, const std::function<bool(const base::JsonFields&)>& keep,
                       int64_t num_bytes) {
  if (!fs::exists(path)) return;
  const std::string content = base::read_file(path, kMaxJsonLinesBytes);
  std::string kept;
  base::read_json_lines_of(content, path.string(), [&](const base::JsonFields& fields, std::string_view line) {
    const int64_t num_read = line.data() - content.data() + static_cast<int64_t>(line.size()) + 1;
    if ((num_bytes < 0 || num_read <= num_bytes) && keep(fields)) (kept += line) += "\n";
  });
  if (kept == content) return;
  if (!content.starts_with(kept)) return base::write_file_atomically(path, kept);
  std::error_code error;
  // Cutting needs no space on a full disk.
  fs::resize_file(path, kept.size(), error);
  require<base::FileError>(!error, "truncate failed for '", path.string(), "': ", error.message());
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
      [first_step](const base::JsonFields& line) {
        const int64_t step = line.integer("step").value_or(first_step - 1);
        const bool shows_step = line.text("kind") == "step";
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
