#include "launch/trace_recording.h"

#include <CLI/CLI.hpp>
#include <array>
#include <cstdio>
#include <system_error>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "base/trace.h"
#include "launch/output_file.h"

namespace rosa::launch {

namespace fs = std::filesystem;

void add_trace_options(CLI::App& command, TraceOptions& options) {
  const auto set_file = [&options](const std::vector<std::string>& values) {
    options.file = values.empty() ? "" : values.front();
    return true;
  };
  CLI::Option* trace =
      command.add_option("--trace", set_file, "trace some steps into FILE, or trace.json of the run folder")
          ->expected(0, 1)
          ->type_name("[FILE]");
  command.add_option("--trace-steps", options.num_steps, "steps that are traced")
      ->needs(trace)
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command.add_option("--trace-skip", options.num_skipped, "steps before the first that is traced")
      ->needs(trace)
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
}

TraceRecording::TraceRecording(const TraceOptions& options, const fs::path& run_folder,
                               parallel::Communicator& communicator)
    : communicator_(communicator),
      is_on_(options.file.has_value()),
      run_folder_(run_folder),
      file_(options.file.value_or("").empty() ? run_folder / "trace.json" : output_path(*options.file)) {
  if (!is_on_) return;
  std::error_code error;
  if (file_.has_parent_path()) fs::create_directories(file_.parent_path(), error);
  base::require<base::FileError>(!error, "can't create ", file_.parent_path().string(), ": ", error.message());
  for (const fs::path& path : {file_, part(communicator_.rank())}) {
    check_output({.option = "--trace",
                  .path = path,
                  .kind = OutputKind::trace,
                  .inputs = options.inputs,
                  .folders = options.folders});
  }
  if (const base::OutputTarget target = base::output_target(file_); target.descriptor < 0) file_ = target.path;
  base::name_trace_thread("compute");
  communicator_.barrier();
  base::start_trace(part(communicator_.rank()), communicator_.rank(),
                    {.num_skipped = options.num_skipped, .num_steps = options.num_steps});
}

TraceRecording::~TraceRecording() { base::stop_trace(); }

void TraceRecording::finish() {
  if (!is_on_) return;
  base::stop_trace();
  communicator_.barrier();
  if (communicator_.rank() != 0) return;
  const int world_size = communicator_.world_size();
  if (world_size > 1) {
    std::vector<fs::path> parts;
    for (int rank = 0; rank < world_size; ++rank) {
      if (fs::exists(part(rank))) parts.push_back(part(rank));
    }
    if (static_cast<int>(parts.size()) < world_size) {
      base::log_info(base::concat("trace: ", parts.size(), " of ", world_size, " ranks' files are on this host, as ",
                                  part(0).string(), "; the others are on theirs"));
      return;
    }
    try {
      base::merge_traces(parts, file_);
    } catch (const base::FileError& error) {  // a full disk must not make a failure of a run that is saved
      base::log_warning(base::concat("trace: ", error.what(), "; each rank's own is in ", part(0).string(), " ..."));
      return;
    }
    std::error_code ignored;
    for (const fs::path& one : parts) fs::remove(one, ignored);
  }
  base::log_info(base::concat("trace: ", file_.string(), " (open it in https://ui.perfetto.dev)"));
}

// With one rank, the file itself.
fs::path TraceRecording::part(int rank) const {
  if (communicator_.world_size() == 1) return file_;
  std::array<char, 24> name{};
  std::snprintf(name.data(), name.size(), ".rank_%04d", rank);
  // Beside a device or pipe there is no place for files.
  fs::path path = base::output_target(file_).is_stream ? run_folder_ / "trace.json" : file_;
  return path.replace_extension(name.data() + file_.extension().string());
}

}  // namespace rosa::launch
