// `rosa verify-run`: does the steps between two checkpoints of a run again, and compares what comes out.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <charconv>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/run_config_file.h"
#include "launch/session.h"
#include "launch/training_session.h"
#include "training/checkpoint_comparison.h"
#include "training/checkpoint_store.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::concat;
using training::Checkpoint;
using training::CheckpointStore;

constexpr std::size_t kMaxShown = 4;  // differences of a checkpoint

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
  base::require<base::ConfigError>(chosen.size() >= 2, "'", options.range,
                                   "' holds no two checkpoints; the run has those of ", known);
  return chosen;
}

// The run's own configuration at its checkpoint, in another folder.
std::vector<std::string> overrides_of(const VerifyOptions& options, const fs::path& first) {
  std::vector<std::string> all = {concat("run.folder=", fs::absolute(options.work_folder()).string()),
                                  concat("checkpoint.resume=", fs::absolute(first).string()),
                                  "checkpoint.keep_last=0",
                                  "checkpoint.keep_best=0",
                                  "logging.tensorboard=false",
                                  "logging.command=",
                                  "evaluation.samples=0"};
  all.insert(all.end(), options.overrides.begin(), options.overrides.end());
  return all;
}

// What an earlier verification left in its own folder goes; nobody else's does.
void prepare_folder(const VerifyOptions& options) {
  const fs::path folder = options.work_folder();
  if (options.folder.empty()) {
    fs::remove_all(folder);
  } else {
    base::require<base::ConfigError>(!fs::exists(folder) || fs::is_empty(folder), "--folder: '", folder.string(),
                                     "' is not empty");
  }
}

// A line for a checkpoint; what is wrong with it is added to `trouble`.
std::string compare_step(const fs::path& own, const CheckpointStore& made, std::string& trouble) {
  const int64_t step = CheckpointStore::step_of(own);
  const fs::path again = made.folder() / CheckpointStore::folder_name(step);
  if (!fs::exists(again)) return concat("step ", step, ": not compared, since nothing is saved there on the way\n");
  // The metrics' state is the length of their file.
  const training::CheckpointComparison comparison =
      training::compare_checkpoints(training::open_checkpoint(own), training::open_checkpoint(again), {"metrics"});
  const std::size_t num = comparison.differences.size();
  if (num == 0) {
    return concat("step ", step, ": equal in all ", comparison.num_tensors, " tensors and ", comparison.num_values,
                  " values\n");
  }
  std::string text = concat("step ", step, ": ", num, " of ", comparison.num_tensors, " tensors and ",
                            comparison.num_values, " values differ:");
  for (std::size_t i = 0; i < std::min(num, kMaxShown); ++i) {
    text += concat(i == 0 ? " " : "; ", base::printable(comparison.differences[i].entry), " ",
                   comparison.differences[i].reason);
  }
  if (num > kMaxShown) text += concat("; and ", num - kMaxShown, " more");
  if (trouble.empty()) trouble = text;
  return text + "\n";
}

int run_verify(const VerifyOptions& options) {
  base::require<base::ConfigError>(fs::is_directory(options.run), "'", options.run, "' is no run folder");
  const std::vector<fs::path> checkpoints = checkpoints_in(options);
  const Checkpoint first = training::open_checkpoint(checkpoints.front());
  const bool distills = first.contains(training::kAdapterState);
  const auto objective = distills ? training::Objective::distill : training::Objective::pretrain;
  const LoadedConfig loaded = load_run_config(first.folder() / "config.yaml", overrides_of(options, first.folder()),
                                              distills ? ConfigUse::distill : ConfigUse::pretrain);
  Session session(loaded.config.failures.watchdog);
  parallel::Communicator& communicator = session.communicator();
  if (session.is_main_rank()) prepare_folder(options);
  communicator.barrier();
  session.lock_folder(loaded.config.run.folder);
  const int64_t last = CheckpointStore::step_of(checkpoints.back());
  const training::RunOutcome outcome = train_in_session(
      session, loaded, objective, {.accept_changed = {}, .num_steps_at_end = last, .writes_metrics = false});
  const CheckpointStore made(fs::path(loaded.config.run.folder) / "checkpoints");
  std::string trouble, table;
  bool is_there = true;
  if (session.is_main_rank()) {
    is_there = fs::exists(made.folder() / CheckpointStore::folder_name(last));
    for (const fs::path& own : checkpoints) {
      if (is_there && own != checkpoints.front()) table += compare_step(own, made, trouble);
    }
  }
  // A request to stop came before the end.
  if (communicator.all_reduce_values(std::vector<int64_t>{is_there ? 1 : 0}, parallel::Reduction::min).front() == 0) {
    base::require<base::CheckpointError>(outcome == training::RunOutcome::stopped, "the run ended before step ", last);
    return kExitStopped;
  }
  trouble = communicator.broadcast_text(trouble, /*root=*/0);
  if (session.is_main_rank()) {
    std::cout << base::printable(options.run) << " from step " << first.manifest().info.step << " to " << last
              << ", done again on " << communicator.world_size()
              << (communicator.world_size() == 1 ? " rank" : " ranks") << ":\n"
              << table << std::flush;
  }
  base::require<base::CheckpointError>(
      trouble.empty(), trouble, ". What was done again is in '", loaded.config.run.folder, "'",
      loaded.config.parallel.reduction != "deterministic"
          ? ". Where sums are fast (parallel.reduction), another number of ranks gives other last bits"
          : "");
  communicator.barrier();
  if (session.is_main_rank() && !options.keep) fs::remove_all(loaded.config.run.folder);
  return kExitOk;
}

}  // namespace

void add_verify_run_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "verify-run", "Does the steps between two checkpoints of a run again, and compares all tensors.");
  const auto options = std::make_shared<VerifyOptions>();
  command->add_option("RUN", options->run, "run folder")->required();
  command->add_option("FROM..TO", options->range,
                      "steps of two checkpoints; without one end, from the first or to the last (default: all)");
  command->add_option("--folder", options->folder,
                      "where the steps are done again (default: 'verification' in the run folder, removed at the end "
                      "where all is equal)");
  command->add_flag("--keep", options->keep, "keeps what was done again");
  add_override_option(*command, options->overrides);
  command->footer(
      "Examples:\n"
      "  rosa verify-run runs/mine 1000..2000\n"
      "  launch/run_local.sh -n 4 verify-run runs/mine 1000..        # on another number of ranks\n"
      "What it proves, and what it can't: docs/running.md.");
  command->callback([&action, options] { action = [options] { return run_verify(*options); }; });
}

}  // namespace rosa::launch
