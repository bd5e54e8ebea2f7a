// Files of one JSON object a line, each of a step: how they go on where a checkpoint left them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/line_file.h"
#include "base/stateful.h"

namespace rosa::training {

// Leaves the lines for which `keep` says so, among the first `num_bytes` bytes (-1: among all). A last line that was
// cut short by a kill goes too. Where there is no file, none is made. Throws DataError, naming file and line, for any
// other line that is no JSON object; FileError.
void filter_json_lines(const std::filesystem::path& path, const std::function<bool(const base::JsonFields&)>& keep,
                       int64_t num_bytes = -1);

// A file of one JSON object a line, each with a "step", that goes on where a checkpoint left it. Its state is its
// length. A disk that is full or a file that is removed by others is a warning (base/line_file.h).
class JsonLinesFile : public base::Stateful {
 public:
  explicit JsonLinesFile(std::filesystem::path path) : path_(std::move(path)) {}

  // Opens the file for the steps from `first_step` on: cuts it at the checkpoint that was loaded and drops the lines of
  // steps that will be done again, so that each step stands there once. Lines of the kind "step" are named by the step
  // they show, all others by the number of steps done before them. Throws FileError where it can't be written, and
  // DataError, naming the line, where it is damaged.
  void start(int64_t first_step);
  // Appends one line; it is there when this returns, or waits for space. To be called after start().
  void write(const std::string& json);

  // What is there by now is made durable where that is possible.
  base::StateDict save_state() const override;
  void load_state(const base::StateDict& state) override;

 private:
  std::filesystem::path path_;
  int64_t saved_bytes_ = -1;  // the length at the checkpoint that was loaded; -1: none was
  mutable std::optional<base::LineFile> lines_;
};

}  // namespace rosa::training
