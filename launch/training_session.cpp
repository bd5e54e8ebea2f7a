#include "launch/training_session.h"

#include <csignal>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>

#include "base/log.h"
#include "launch/model_tokenizer.h"
#include "launch/progress.h"
#include "launch/run_config_file.h"
#include "launch/suite_file.h"
#include "models/model_config.h"
#include "text/tokenizer.h"
#include "training/fault_injection.h"
#include "training/idle_keys.h"
#include "training/metrics.h"
#include "training/run_identity.h"
#include "training/suite/suite.h"
#include "training/tensorboard/writer.h"
#include "training/tracker.h"

namespace rosa::launch {
namespace {

// Null where there is none. Texts whose bytes are tokens are read as bytes, whatever the model's vocabulary.
std::shared_ptr<text::Tokenizer> tokenizer_of(const training::RunConfig& config, bool from_scratch) {
  const bool are_bytes = config.data.kind == training::DataKind::lines || config.data.kind == training::DataKind::crops;
  if (are_bytes) return text::make_byte_tokenizer();
  if (config.data.kind == training::DataKind::phrases || from_scratch) return nullptr;
  return find_model_tokenizer(config.model.folder, models::load_model_config(config.model.folder).vocab_size);
}

std::function<std::string(std::span<const int64_t>)> decoder_of(const std::shared_ptr<text::Tokenizer>& tokenizer) {
  if (tokenizer == nullptr) return {};
  return [tokenizer](std::span<const int64_t> ids) { return tokenizer->decode(ids); };
}

// How far the run is, as rank 0 is told; one rank that asks for a stop is enough.
class StepWatch : public training::TrainingObserver {
 public:
  bool has_done(const std::optional<int64_t>& num_steps) const { return num_steps && num_done_ >= *num_steps; }
  void on_start(int64_t first_step, int64_t /*num_steps*/) override { num_done_ = first_step; }
  void on_step(const training::StepMetrics& metrics) override { num_done_ = metrics.step + 1; }
  void on_evaluation(const training::EvaluationMetrics& /*metrics*/) override {}
  void on_checkpoint(int64_t /*step*/, const std::filesystem::path& /*folder*/) override {}
  void on_notice(const std::string& /*text*/) override {}
  void on_end() override {}

 private:
  int64_t num_done_ = 0;
};

}  // namespace

training::RunOutcome train_in_session(Session& session, const LoadedConfig& loaded, training::Objective objective,
                                      const SessionOptions& options) {
  const training::RunConfig& config = loaded.config;
  session.start_log(config.run.folder);
  listen_for_stop_signals();
  // A limit on the size of files is an error of a write, which names the file, and not the end of the process.
  std::signal(SIGXFSZ, SIG_IGN);
  training::install_faults_of_environment(session.communicator().rank());
  session.start_watchdog(config.failures.watchdog, config.run.folder);

  ProgressDisplay display(session.terminal());
  training::ObserverList observers;
  observers.add(display);
  StepWatch steps;
  observers.add(steps);
  std::optional<training::MetricsFile> metrics;
  if (session.is_main_rank() && !options.is_rehearsal) {
    metrics.emplace(std::filesystem::path(config.run.folder) / "metrics.jsonl", config.logging.every);
    observers.add(*metrics);
  }
  std::optional<training::tensorboard::Writer> tensorboard;
  if (session.is_main_rank() && config.logging.tensorboard) {
    tensorboard.emplace(
        training::tensorboard::WriterSettings{.folder = std::filesystem::path(config.run.folder) / "tensorboard",
                                              .every = config.logging.every,
                                              .recipe = training::recipe_values(config),
                                              .configuration = loaded.text});
    observers.add(*tensorboard);
  }
  std::optional<training::Tracker> tracker;
  if (session.is_main_rank() && !config.logging.command.empty()) {
    tracker.emplace(config.logging.command, config.run.folder, config.logging.every);
    observers.add(*tracker);
  }
  std::map<std::string, base::Stateful*> states;
  if (metrics) states["metrics"] = &*metrics;
  const training::SuiteConfig suite =
      config.evaluation.suite.empty() ? training::SuiteConfig() : load_suite(config.evaluation.suite).config;
  for (const training::Stage& stage : loaded.stages) check_suite_texts(suite, stage.config);
  const auto run_suite = [&](const training::RunConfig& of_stage, const training::RunParts& parts,
                             training::EvaluationMetrics& evaluation) {
    const std::string variant = parts.adapters == nullptr ? "teacher" : "rosa";
    const training::SuiteResult result =
        training::run_suite(suite, of_stage, parts, {variant}, /*progress=*/{}, stop_requested);
    if (result.is_complete) return add_to(evaluation, result, variant);
    if (session.is_main_rank()) base::log_info("the suite is left before its end, at the request to stop");
  };
  // A pretraining from scratch has no folder whose tokenizer is the model's.
  const bool from_scratch = objective == training::Objective::pretrain && config.model.from_scratch;
  const std::shared_ptr<text::Tokenizer> tokenizer =
      config.evaluation.samples == 0 ? nullptr : tokenizer_of(config, from_scratch);
  const training::RunContext context{
      .communicator = session.communicator(),
      .observer = observers,
      .stop_requested = [&] { return stop_requested() || steps.has_done(options.num_steps_at_end); },
      .resolved_config = loaded.text,
      .accept_changed = options.accept_changed,
      .states = states,
      .run_suite = run_suite,
      .decode = decoder_of(tokenizer),
      .advice_on_changes = options.is_rehearsal ? "Put back what it was; --set says where inputs lie now" : "",
      .read_recipe = recorded_recipe};
  if (session.is_main_rank() && !loaded.length.empty()) base::log_info("steps: " + loaded.length);
  if (session.is_main_rank() && objective == training::Objective::distill) {
    for (const training::IdleKey& idle : training::idle_keys(loaded.stages)) base::log_warning(idle_key_text(idle));
  }
  const training::RunOutcome outcome = training::train_run(loaded.stages, objective, context);
  if (tracker) tracker->finish();
  if (outcome == training::RunOutcome::stopped && session.is_main_rank() && !steps.has_done(options.num_steps_at_end)) {
    base::log_info("stopped on request; the same command goes on from here");
  }
  return outcome;
}

}  // namespace rosa::launch
