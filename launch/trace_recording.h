// TraceRecording: the trace that `rosa train --trace` writes: begun on every rank, merged into one file at the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "parallel/communicator.h"

namespace CLI {
class App;
}

namespace rosa::launch {

struct TraceOptions {
  std::optional<std::string> file;  // nothing: no trace; empty: trace.json in the run folder
  int64_t num_steps = 20;
  int64_t num_skipped = 0;
  std::vector<std::filesystem::path> inputs, folders;  // of the run: see Output
};

// The options --trace, --trace-steps and --trace-skip.
void add_trace_options(CLI::App& command, TraceOptions& options);

class TraceRecording {
 public:
  // Begins the trace if one is asked for. Its clock starts at 0 on all ranks at about the same moment. Several ranks
  // write a file each, beside the one that is asked for. Throws FileError, and ConfigError where a trace would take the
  // place of another file. Collective: every rank calls it.
  TraceRecording(const TraceOptions& options, const std::filesystem::path& run_folder,
                 parallel::Communicator& communicator);
  // Ends the trace; what finish() has not merged stays in the ranks' own files.
  ~TraceRecording();

  // Ends the trace and merges the ranks' files into one, where rank 0 sees them all, and says where it is.
  // Collective: every rank calls it.
  void finish();

 private:
  std::filesystem::path part(int rank) const;

  parallel::Communicator& communicator_;
  bool is_on_;
  std::filesystem::path run_folder_;
  std::filesystem::path file_;  // of all ranks, links followed
};

}  // namespace rosa::launch
