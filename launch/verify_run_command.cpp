// `rosa verify-run`: makes the steps between two checkpoints of a run again, and compares what comes out.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/training_session.h"
#include "training/checkpoint_comparison.h"
#include "training/checkpoint_store.h"
#include "training/run_identity.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::concat;
using training::Checkpoint;
using training::CheckpointStore;

constexpr std::size_t kMaxShown = 4;  // differences of a checkpoint
constexpr const char* kSections[] = {"model.", "teacher.", "data.", "compute.", "parallel."};

struct VerifyOptions {
  std::string run, range, folder;
  std::vector<std::string> overrides;
  bool keep = false;

  fs::path work_folder() const { return folder.empty() ? fs::path(run) / "verification" : fs::path(folder); }
};

// "1000" or "step_00001000".
int64_t step_of_text(const std::string& text, const std::string& range) {
  const std::string digits = text.starts_with("step_") ? text.substr(5) : text;
  int64_t step = -1;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), step);
  base::require<base::ConfigError>(error == std::errc() && end == digits.data() + digits.size() && step >= 0, "'",
                                   range, "' is no range of steps; expected FROM..TO, such as 1000..2000");
  return step;
}

// The checkpoints of the run that the range holds, by ascending step: the first is where the steps begin, the others
// are compared.
std::vector<fs::path> checkpoints_in(const VerifyOptions& options) {
  const CheckpointStore store(fs::path(options.run) / "checkpoints");
  const std::vector<fs::path> all = store.list();
  std::string known;
  for (const fs::path& path : all) known += concat(known.empty() ? "" : ", ", CheckpointStore::step_of(path));
  base::require<base::CheckpointError>(all.size() >= 2, "'", options.run, "' has ", all.size(),
                                       " checkpoints; two are needed, one to begin at and one to compare");
  std::optional<int64_t> from, to;
  if (!options.range.empty()) {
    const std::size_t dots = options.range.find("..");
    base::require<base::ConfigError>(dots != std::string::npos, "'", options.range,
                                     "' is no range of steps; expected FROM..TO, such as 1000..2000");
    if (dots > 0) from = step_of_text(options.range.substr(0, dots), options.range);
    if (dots + 2 < options.range.size()) to = step_of_text(options.range.substr(dots + 2), options.range);
  }
  const auto require_there = [&](const std::optional<int64_t>& step) {
    const bool is_there = !step || std::any_of(all.begin(), all.end(), [&](const fs::path& path) {
      return CheckpointStore::step_of(path) == *step;
    });
    base::require<base::CheckpointError>(is_there, "'", options.run, "' has no checkpoint of step ", step.value_or(0),
                                         "; it has those of ", known);
  };
  require_there(from);
  require_there(to);
  std::vector<fs::path> chosen;
  for (const fs::path& path : all) {
    const int64_t step = CheckpointStore::step_of(path);
    if ((!from || step >= *from) && (!to || step <= *to)) chosen.push_back(path);
  }
  base::require<base::ConfigError>(!from || !to || *from <= *to, "'", options.range, "' ends before it begins");
  base::require<base::ConfigError>(chosen.size() >= 2, "'", options.range,
                                   "' holds no two checkpoints; the run has those of ", known);
  return chosen;
}

// The run's own configuration at its checkpoint, in another folder.
std::vector<std::string> overrides_of(const VerifyOptions& options, const fs::path& first, const fs::path& folder) {
  std::vector<std::string> all = {concat("run.folder=", folder.string()),
                                  concat("checkpoint.resume=", fs::absolute(first).string()),
                                  "checkpoint.keep_last=0",
                                  "checkpoint.keep_best=0",
                                  "logging.tensorboard=false",
                                  "logging.command=",
                                  "evaluation.samples=0",
                                  "checkpoint.max_failed_saves=0"};
  all.insert(all.end(), options.overrides.begin(), options.overrides.end());
  return all;
}

// --set says where inputs lie and how the work is done; all else is what the run was.
void check_overrides(const std::vector<std::string>& overrides) {
  for (const std::string& text : overrides) {
    const bool is_place = std::any_of(std::begin(kSections), std::end(kSections),
                                      [&](const char* name) { return text.starts_with(name); });
    base::require<base::ConfigError>(is_place, "--set ", base::excerpt(text),
                                     ": verify-run takes keys of model, teacher, ",
                                     "data, compute and parallel only, for where inputs lie and how the work is done; ",
                                     "all else is the run's own");
  }
}

// The folder in which steps are made again. A file in it says of what; so nobody else's folder is written to or
// removed.
class WorkFolder {
 public:
  WorkFolder(const VerifyOptions& options, const Checkpoint& first, int64_t last)
      : path_(fs::weakly_canonical(options.work_folder())),
        what_(concat("rosa verify-run: from ", first.manifest().checksum, " to step ", last, "\n")) {}

  const fs::path& path() const { return path_; }

  // Of the same steps it is kept: the work goes on where it was left.
  void prepare() const {
    std::error_code error;
    if (fs::exists(path_, error) && !(fs::is_directory(path_) && fs::is_empty(path_))) {
      base::require<base::ConfigError>(fs::is_regular_file(path_ / kMark), "'", path_.string(),
                                       "' is there, and verify-run did not make it; --folder names another place");
      if (base::read_file(path_ / kMark, kMaxMarkBytes) == what_) return;
      base::require<base::ConfigError>(!fs::exists(path_ / kKept), "'", path_.string(),
                                       "' holds a verification that was kept (--keep); remove it, or name another ",
                                       "place with --folder");
      fs::remove_all(path_);
    }
    fs::create_directories(path_, error);
    base::require<base::FileError>(!error, "can't create '", path_.string(), "': ", error.message(),
                                   "; --folder names another place");
    base::write_file_atomically(path_ / kMark, what_);
  }
  void keep() const { base::write_file_atomically(path_ / kKept, ""); }
  void remove() const { fs::remove_all(path_); }

 private:
  static constexpr const char *kMark = "verify-run.txt", *kKept = "kept";
  static constexpr int64_t kMaxMarkBytes = 1 << 12;

  fs::path path_;
  std::string what_;
};

// Before any step: whether the checkpoints after `first` are whole, and of its recipe. Empty: they are.
std::string trouble_with(std::span<const fs::path> later, const Checkpoint& first) {
  for (const fs::path& path : later) {
    try {
      const Checkpoint checkpoint = training::open_checkpoint(path);
      const auto changed = training::changed_identity(first.state("identity"), checkpoint.state("identity"), {});
      if (!changed.empty()) {
        return concat("the run's recipe changed between step ", first.manifest().info.step, " and ",
                      checkpoint.manifest().info.step, " (", base::printable(changed.begin()->first),
                      "): verify the steps before and after that apart");
      }
    } catch (const base::CheckpointError& error) {
      return concat(error.what(), "; leave it out of FROM..TO");
    }
  }
  return "";
}

// A line for a checkpoint; what is wrong with it is added to `trouble`.
std::string compare_step(const fs::path& own, const CheckpointStore& made, std::string& trouble) {
  const int64_t step = CheckpointStore::step_of(own);
  const fs::path again = made.folder() / CheckpointStore::folder_name(step);
  if (!fs::exists(again)) return concat("step ", step, ": not compared, since nothing is saved there on the way\n");
  // The state of the metrics is the length of their file; the recipe is compared before the steps, key by key.
  const training::CheckpointComparison comparison =
      training::compare_checkpoints(training::open_checkpoint(own), training::open_checkpoint(again),
                                    {"metrics", "identity"}, {"the run", "what was made again"});
  const std::size_t num = comparison.differences.size();
  if (num == 0) {
    return concat("step ", step, ": equal in all ", comparison.num_tensors, " tensors and ", comparison.num_values,
                  " values\n");
  }
  std::string text = concat("step ", step, ": ", num, num == 1 ? " entry differs" : " entries differ", " of ",
                            comparison.num_tensors, " tensors and ", comparison.num_values, " values:");
  for (std::size_t i = 0; i < std::min(num, kMaxShown); ++i) {
    text += concat(i == 0 ? " " : "; ", base::printable(comparison.differences[i].entry), " ",
                   comparison.differences[i].reason);
  }
  if (num > kMaxShown) text += concat("; and ", num - kMaxShown, " more");
  if (trouble.empty()) trouble = text;
  return concat("step ", step, ": ", num, num == 1 ? " entry differs" : " entries differ", "\n");
}

int run_verify(const VerifyOptions& options) {
  base::require<base::ConfigError>(fs::is_directory(options.run), "'", options.run, "' is no run folder");
  check_overrides(options.overrides);
  const std::vector<fs::path> checkpoints = checkpoints_in(options);
  const Checkpoint first = training::open_checkpoint(checkpoints.front());
  const int64_t last = CheckpointStore::step_of(checkpoints.back());
  const WorkFolder folder(options, first, last);
  const bool distills = first.contains(training::kAdapterState);
  const auto objective = distills ? training::Objective::distill : training::Objective::pretrain;
  const LoadedConfig loaded =
      load_run_config(first.folder() / "config.yaml", overrides_of(options, first.folder(), folder.path()),
                      distills ? ConfigUse::distill : ConfigUse::pretrain);
  Session session(loaded.config.failures.watchdog);
  parallel::Communicator& communicator = session.communicator();
  const auto require_on_all = [&](const std::string& trouble, const auto&... more) {
    const std::string of_main = communicator.broadcast_text(trouble, /*root=*/0);
    base::require<base::CheckpointError>(of_main.empty(), of_main, more...);
  };
  require_on_all(session.is_main_rank() ? trouble_with(std::span(checkpoints).subspan(1), first) : "");
  if (session.is_main_rank()) folder.prepare();
  communicator.barrier();
  session.lock_folder(folder.path());
  train_in_session(session, loaded, objective, {.num_steps_at_end = last, .is_rehearsal = true});
  const CheckpointStore made(folder.path() / "checkpoints");
  const bool is_there = fs::exists(made.folder() / CheckpointStore::folder_name(last));
  // A request to stop came before the end; the same command goes on.
  if (communicator.all_reduce_values(std::vector<int64_t>{is_there ? 1 : 0}, parallel::Reduction::min).front() == 0) {
    return kExitStopped;
  }
  std::string trouble;
  if (session.is_main_rank()) {
    const int num_ranks = communicator.world_size();
    std::string table = concat(options.run, " from step ", first.manifest().info.step, " to ", last, ", made again on ",
                               num_ranks, num_ranks == 1 ? " rank" : " ranks", ":\n");
    for (std::size_t i = 1; i < checkpoints.size(); ++i) table += compare_step(checkpoints[i], made, trouble);
    std::cout << base::printable_lines(table) << std::flush;
  }
  require_on_all(trouble, ". What was made again is in '", folder.path().string(), "'",
                 loaded.config.parallel.reduction == "fast"
                     ? ". With parallel.reduction: fast another number of ranks gives other last bits"
                     : "");
  communicator.barrier();
  if (!session.is_main_rank()) return kExitOk;
  if (options.keep) {
    folder.keep();
  } else {
    folder.remove();
  }
  return kExitOk;
}

}  // namespace

void add_verify_run_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "verify-run", "Makes the steps between two checkpoints of a run again, and compares all tensors.");
  const auto options = std::make_shared<VerifyOptions>();
  command->add_option("RUN", options->run, "run folder")->required();
  command->add_option("FROM..TO", options->range,
                      "steps of two checkpoints; without one end, from the first or to the last (default: all)");
  command->add_option("--folder", options->folder,
                      "where the steps are made again (default: 'verification' in the run folder); removed at the end "
                      "if all is equal");
  command->add_flag("--keep", options->keep, "keeps what was made again");
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa verify-run runs/mine 1000..2000\n"
      "  launch/run_local.sh -n 4 verify-run runs/mine 1000..        # on another number of ranks\n"
      "What it proves, and what it can't: docs/running.md.");
  command->callback([&action, options] { action = [options] { return run_verify(*options); }; });
}

}  // namespace rosa::launch
