#include "training/run.h"

#include <ATen/Version.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "base/activity.h"
#include "base/error.h"
#include "base/log.h"
#include "models/export.h"
#include "parallel/replicas.h"
#include "training/checkpoint_store.h"
#include "training/checkpoint_writer.h"
#include "training/consumed_log.h"
#include "training/early_stop.h"
#include "training/fault_injection.h"
#include "training/resume.h"
#include "training/run_folder.h"
#include "training/run_identity.h"
#include "training/run_length.h"
#include "training/save_fault.h"
#include "training/text_samples.h"
#include "training/trainer.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

// Where a resumed run goes on: the step, and with it the place in the data.
class Progress : public base::Stateful {
 public:
  explicit Progress(int64_t samples_per_step = 0) : samples_per_step_(samples_per_step) {}

  base::StateDict save_state() const override {
    base::StateDict state;
    state.values["num_steps_done"] = num_steps_done;
    state.values["num_samples_done"] = num_steps_done * samples_per_step_;  // the global position in the data
    return state;
  }
  void load_state(const base::StateDict& state) override {
    const auto found = state.values.find("num_steps_done");
    base::require<base::CheckpointError>(found != state.values.end() && std::holds_alternative<int64_t>(found->second),
                                         "the checkpoint holds no integer 'num_steps_done'");
    num_steps_done = std::get<int64_t>(found->second);
  }

  int64_t num_steps_done = 0;

 private:
  int64_t samples_per_step_;
};

bool any_rank(parallel::Communicator& communicator, bool value) {
  return communicator.all_reduce_values(std::vector<int64_t>{value ? 1 : 0}, parallel::Reduction::max).front() != 0;
}

// The loop of a run and its folder.
class Run {
 public:
  Run(const RunConfig& config, Objective objective, const RunContext& context)
      : config_(config),
        objective_(objective),
        context_(context),
        communicator_(context.communicator),
        objects_(build_run(config, objective, context.communicator)),
        consumed_log_(log_consumed_samples()),
        trainer_(config, objects_.parts(context.communicator)),
        progress_(config.train.micro_batches * config.train.micro_batch_sequences),
        identity_(identity_of_run(), context.accept_changed, advice(config)) {
    if (config.train.early_stop.patience > 0) early_stop_.emplace(config.train.early_stop);
    install_automaton_fault(*objects_.executor);
    states_ = trainer_.state();
    states_["progress"] = &progress_;
    states_["identity"] = &identity_;
    if (early_stop_) states_["early_stop"] = &*early_stop_;
    states_.insert(context.states.begin(), context.states.end());
  }

  RunOutcome run() {
    prepare_folder();
    resume_or_start();
    make_writer();
    observe([&](TrainingObserver& o) { o.on_notice(optimizer_memory_text()); });
    observe([&](TrainingObserver& o) { o.on_start(progress_.num_steps_done, config_.train.num_steps); });
    if (consumed_log_ != nullptr) consumed_log_->start(progress_.num_steps_done, communicator_);
    try {
      if (is_new_ && config_.evaluation.at_start && config_.evaluation.every > 0) evaluate();
      return train();
    } catch (const base::NumericError&) {  // thrown alike on every rank, so all can still end what was begun
      const base::PhaseScope phase(base::Phase::saving);
      tell_end_of_save(writer_->finish(), "the run ends");
      throw;
    }
  }

 private:
  RunOutcome train() {
    while (progress_.num_steps_done < config_.train.num_steps && !stops_early()) {
      base::begin_step(progress_.num_steps_done);
      settle_save(writer_->poll());
      if (any_rank(communicator_, context_.stop_requested && context_.stop_requested())) {
        save_and_wait();
        observe([&](TrainingObserver& o) { o.on_end(); });
        return RunOutcome::stopped;
      }
      const StepMetrics metrics = trainer_.step(progress_.num_steps_done);
      if (metrics.decision == StepDecision::roll_back) {
        roll_back();
        continue;
      }
      ++progress_.num_steps_done;
      inject_weight_fault(trainer_.trained(), metrics.step);
      if (due(config_.failures.drift_every)) compare_replicas();
      observe([&](TrainingObserver& o) { o.on_step(metrics); });
      for (const std::string& warning : collapse_warning_.check(metrics.layers, metrics.step)) {
        observe([&](TrainingObserver&) { base::log_warning(warning); });
      }
      if (due(config_.evaluation.every)) evaluate();
      if (due(config_.checkpoint.every)) begin_save();
    }
    save_and_wait();
    if (progress_.num_steps_done < config_.train.num_steps) tell_early_stop();
    const base::PhaseScope phase(base::Phase::ending);
    if (objective_ == Objective::pretrain && communicator_.rank() == 0) {
      models::export_model(*objects_.model, fs::path(config_.run.folder) / "model");
    }
    observe([&](TrainingObserver& o) { o.on_end(); });
    communicator_.barrier();
    return RunOutcome::finished;
  }

  // As rank 0 sees it, so that all ranks do the same.
  bool stops_early() {
    return early_stop_ && any_rank(communicator_, communicator_.rank() == 0 && early_stop_->is_reached());
  }

  void tell_early_stop() {
    observe([&](TrainingObserver& o) {
      o.on_notice(base::concat("stopped early after ", progress_.num_steps_done, " of ", config_.train.num_steps,
                               " steps (train.early_stop): ", early_stop_->reason()));
    });
  }

  // Those of the run that the checkpoint has: one from before train.early_stop was set has no state of it.
  States states_in(const Checkpoint& checkpoint) const {
    States states = states_;
    const auto names = checkpoint.state_names();
    if (std::find(names.begin(), names.end(), "early_stop") == names.end()) states.erase("early_stop");
    return states;
  }

  template <class Tell>
  void observe(Tell tell) {
    if (communicator_.rank() == 0) tell(context_.observer);
  }

  std::string optimizer_memory_text() const {
    const bool sharded = config_.parallel.sharded_optimizer && communicator_.world_size() > 1;
    const auto kib = static_cast<double>(trainer_.optimizer_bytes()) / 1024.0;
    const std::string where = sharded ? base::concat("on rank 0, sharded over ", communicator_.world_size(), " ranks")
                                      : std::string("on every rank");
    return base::concat(
        "optimiser state: ", kib < 1024 ? base::concat(kib, " KiB ") : base::concat(kib / 1024, " MiB "), where);
  }

  // Puts the log between the trainer and its data, where the configuration asks for it.
  ConsumedLog* log_consumed_samples() {
    if (!config_.logging.consumed_samples) return nullptr;
    auto log =
        std::make_unique<ConsumedLog>(std::move(objects_.training_data), fs::path(config_.run.folder) / "consumed",
                                      config_.train.micro_batches * config_.train.micro_batch_sequences);
    ConsumedLog* result = log.get();
    objects_.training_data = std::move(log);
    return result;
  }

  static std::string advice(const RunConfig& config) {
    const std::string usual = "else use a new run.folder, with train.init_from for a warm start";
    if (config.recipe != "rosa_soft") return usual;
    return usual + "; what recipe rosa_soft was before is recipe rosa_soft_20251121 now";
  }

  bool due(int64_t every) const { return every > 0 && progress_.num_steps_done % every == 0; }

  // Read before anything of the run's folder is touched, and the same on every rank.
  IdentityFields identity_of_run() const {
    const bool from_scratch = objective_ == Objective::pretrain && config_.model.from_scratch;
    auto fields =
        identity_fields(config_, from_scratch, *objects_.model, *objects_.training_data, *objects_.held_out_data);
    if (objective_ == Objective::distill) fields.values.erase(kDecayOfBase);
    std::string text;
    for (const auto& [name, value] : fields.values) text += base::concat(name, ": ", value, "\n");
    parallel::compare_across_ranks(communicator_, "data and model", text);
    return fields;
  }

  // What an interrupted save left goes first: on a full disk it may be what takes the space.
  void prepare_folder() {
    if (communicator_.rank() == 0) {
      std::error_code error;
      fs::create_directories(config_.run.folder, error);
      base::require<base::FileError>(!error, "can't create ", config_.run.folder, ": ", error.message());
      remove_leftovers_of_saves(CheckpointStore(checkpoints_folder()));
      remove_files_of_killed_writers(config_.run.folder);
    }
    communicator_.barrier();
  }

  ResumeRequest resume_request() const {
    return {.run_folder = config_.run.folder,
            .mode = config_.checkpoint.resume,
            .accept_other_run = identity_.accepts("run")};
  }

  void resume_or_start() {
    ResumePoint point = find_resume_point(resume_request(), communicator_);
    if (point.checkpoint) {
      resume(point);
    } else {
      is_new_ = true;
      observe([&](TrainingObserver& o) {
        o.on_notice(base::concat("no checkpoint in ", config_.run.folder, ": starting run ", point.record.run_id,
                                 " at step 0"));
      });
      if (!config_.train.init_from.empty() && objects_.adapters) {
        load_start_weights(config_, *objects_.adapters);
      }
    }
    record_ = point.record;
    if (communicator_.rank() == 0) write_resolved_config(config_.run.folder, context_.resolved_config);
  }

  void resume(ResumePoint& point) {
    const Checkpoint& checkpoint = *point.checkpoint;
    // First of all: what changed is named before a shape fails to fit.
    if (context_.read_recipe) identity_.set_known(context_.read_recipe(checkpoint.folder() / "config.yaml"));
    checkpoint.load({{"identity", &identity_}});
    if (identity_.accepts_other_tensors()) trainer_.accept_other_tensors();
    checkpoint.load(states_in(checkpoint));
    observe([&](TrainingObserver& o) {
      for (const std::string& change : identity_.accepted_changes()) o.on_notice("accepted a change: " + change);
      if (!identity_.unrecorded().empty()) o.on_notice(identity_.unrecorded_text());
      for (const std::string& name : checkpoint.state_names()) {
        if (!states_.contains(name)) o.on_notice("the checkpoint's state '" + name + "' is not used by this run");
      }
      o.on_notice(base::concat("resumed from ", checkpoint.folder().string(), " (run ", point.record.run_id, ") after ",
                               progress_.num_steps_done, " of ", config_.train.num_steps, " steps"));
    });
    go_on_from(resume_request(), point);
  }

  // The states of the point's checkpoint are loaded: what is saved from now on follows it.
  void go_on_from(const ResumeRequest& request, ResumePoint& point) {
    const Checkpoint& checkpoint = *point.checkpoint;
    const CheckpointStore store(checkpoints_folder());
    parent_ = ParentCheckpoint{checkpoint.manifest().info.step, checkpoint.manifest().checksum};
    if (communicator_.rank() == 0) {
      const fs::path folder = begin_line(request, point);
      if (!folder.empty()) {
        context_.observer.on_notice(base::concat("set aside what this run had saved of another line: it is in ",
                                                 folder.string(), " now, and only you remove it"));
      }
    }
    // One of the same step that is still in its place is the same one.
    const bool is_there = store.holds(checkpoint.folder()) ||
                          fs::exists(store.folder() / CheckpointStore::folder_name(progress_.num_steps_done));
    saved_step_ = any_rank(communicator_, communicator_.rank() == 0 && is_there) ? progress_.num_steps_done : -1;
  }

  fs::path checkpoints_folder() const { return fs::path(config_.run.folder) / "checkpoints"; }

  void make_writer() {
    WriterOptions options;
    options.retention = {.last = config_.checkpoint.keep_last,
                         .every = config_.checkpoint.keep_every,
                         .best = config_.checkpoint.keep_best,
                         .best_by = config_.checkpoint.best_by};
    options.on_commit = [this](const CheckpointInfo& info) {
      record_.last_saved_step = info.step;
      write_run_record(config_.run.folder, record_);
      make_resolved_config_anew(config_.run.folder, context_.resolved_config);
    };
    writer_ = std::make_unique<CheckpointWriter>(communicator_, checkpoints_folder(), options,
                                                 save_faults_of_environment(communicator_.rank()));
    writer_->set_parent(parent_);
  }

  void evaluate() {
    EvaluationMetrics evaluation = trainer_.evaluate(progress_.num_steps_done);
    if (suite_is_due()) {
      const base::PhaseScope phase(base::Phase::evaluation);
      context_.run_suite(objects_.parts(communicator_), evaluation);
    }
    if (config_.evaluation.samples > 0) {
      const base::PhaseScope phase(base::Phase::evaluation);
      for (const ContinuedText& text : continue_held_out_texts(config_, objects_.parts(communicator_))) {
        evaluation.samples.push_back({text_of(text.prompt), text_of(text.continuation), text_of(text.reference)});
      }
    }
    note_best(evaluation);
    if (early_stop_) early_stop_->note(evaluation);
    observe([&](TrainingObserver& o) { o.on_evaluation(evaluation); });
  }

  std::string text_of(const std::vector<int64_t>& ids) const {
    if (context_.decode) return context_.decode(ids);
    std::string text;
    for (const int64_t id : ids) text += base::concat(text.empty() ? "" : " ", id);
    return text;
  }

  bool suite_is_due() const {
    if (config_.evaluation.suite.empty()) return false;
    base::require(context_.run_suite != nullptr, "the run evaluates by a suite, and nothing is there to run it");
    return config_.evaluation.suite_every == 0 || due(config_.evaluation.suite_every);
  }

  // keep_best compares what is saved with a checkpoint: less is better.
  void note_best(const EvaluationMetrics& evaluation) {
    const std::string& figure = config_.checkpoint.best_by;
    double loss = evaluation.ce;
    if (!figure.empty()) {
      const auto found = evaluation.suite.find(figure);
      if (found == evaluation.suite.end()) return;  // the suite did not run
      loss = more_is_better(figure) ? -found->second : found->second;
    }
    if (std::isfinite(loss)) {
      last_evaluation_ = {progress_.num_steps_done, loss};
    } else {
      observe([&](TrainingObserver&) {
        base::log_warning(base::concat("the evaluation after step ", evaluation.step, " is ", loss,
                                       ": checkpoint.keep_best does not count it"));
      });
    }
  }

  // Every state that this run made is saved: one that was forgotten would be lost in a resume without a word.
  void require_all_registered() const {
    std::vector<const base::Stateful*> registered;
    for (const auto& entry : states_) registered.push_back(entry.second);
    for (const std::string& name : watch_.unregistered(registered)) {
      throw base::Error(base::concat("the state ", name, " is not registered with the run and would not be saved"));
    }
  }

  void compare_replicas() {
    parallel::compare_replicas(communicator_, trainer_.trained(),
                               base::concat("after step ", progress_.num_steps_done - 1));
  }

  // Back to the newest checkpoint; what the guard has learnt since stays.
  void roll_back() {
    settle_save(writer_->finish());
    ResumeRequest request = resume_request();
    if (request.mode == "none") request.mode = "auto";  // said of the start
    ResumePoint point = find_resume_point(request, communicator_);
    base::require<base::NumericError>(point.checkpoint.has_value(), "step ", progress_.num_steps_done,
                                      " is not finite and there is no checkpoint to go back to");
    trainer_.step_guard().roll_back([&] { point.checkpoint->load(states_in(*point.checkpoint)); });
    observe([&](TrainingObserver& o) { o.on_notice("rolled back to " + point.checkpoint->folder().string()); });
    go_on_from(request, point);
    record_ = point.record;
    writer_->set_parent(parent_);
    observe([&](TrainingObserver& o) { o.on_start(progress_.num_steps_done, config_.train.num_steps); });
    if (consumed_log_ != nullptr) consumed_log_->start(progress_.num_steps_done, communicator_);
  }

  // Begins the save of this step; training may go on. A save that is still under way is waited for.
  void begin_save() {
    if (saved_step_ == progress_.num_steps_done) return;
    const base::PhaseScope phase(base::Phase::saving);
    trainer_.require_finite_weights();
    if (config_.failures.drift_every > 0) compare_replicas();
    settle_save(writer_->finish());
    require_all_registered();
    CheckpointInfo info{record_.run_id, progress_.num_steps_done, std::nullopt};
    if (last_evaluation_.first == info.step) {
      info.evaluation_loss = last_evaluation_.second;
      info.evaluated_by = config_.checkpoint.best_by;
    }
    writer_->start(info, states_, {{"config.yaml", context_.resolved_config}});
    saved_step_ = info.step;
  }

  // The save without which a run must not end: throws CheckpointError on every rank where it fails.
  void save_and_wait() {
    const base::PhaseScope phase(base::Phase::saving);
    begin_save();
    settle_save(writer_->finish());
    if (saved_step_ != progress_.num_steps_done) {  // a periodic save of this very step failed: once more
      begin_save();
      settle_save(writer_->finish());
    }
    base::require<base::CheckpointError>(saved_step_ == progress_.num_steps_done,
                                         "the last save of the run failed: ", last_save_error_);
  }

  void tell_end_of_save(const std::optional<SaveOutcome>& outcome, const char* what_follows) {
    if (!outcome) return;
    observe([&](TrainingObserver& o) {
      if (outcome->ok()) return o.on_checkpoint(outcome->step, outcome->folder);
      base::log_warning(base::concat("the checkpoint of step ", outcome->step, " was not saved, ", what_follows, ": ",
                                     outcome->error));
    });
  }

  // Tells and counts: throws CheckpointError on every rank where too many in a row failed.
  void settle_save(const std::optional<SaveOutcome>& outcome) {
    if (!outcome) return;
    if (outcome->ok()) {
      num_failed_saves_ = 0;
    } else {
      count_failed_save(*outcome);
    }
    tell_end_of_save(outcome, "training goes on");
  }

  void count_failed_save(const SaveOutcome& outcome) {
    ++num_failed_saves_;
    last_save_error_ = outcome.error;
    if (saved_step_ == outcome.step) saved_step_ = -1;
    base::require<base::CheckpointError>(num_failed_saves_ <= config_.checkpoint.max_failed_saves, num_failed_saves_,
                                         " saves in a row failed (checkpoint.max_failed_saves is ",
                                         config_.checkpoint.max_failed_saves, "), the last one of step ", outcome.step,
                                         ": ", outcome.error);
  }

  const base::StatefulWatch watch_;  // first: it sees what the members below make
  const RunConfig& config_;
  Objective objective_;
  const RunContext& context_;
  parallel::Communicator& communicator_;
  RunObjects objects_;
  ConsumedLog* consumed_log_;  // null without one; owned by objects_
  Trainer trainer_;
  Progress progress_;
  RunIdentity identity_;
  States states_;
  RunRecord record_;
  std::optional<ParentCheckpoint> parent_;  // that the run went on from
  bool is_new_ = false;                     // no checkpoint was resumed
  int64_t saved_step_ = -1;                 // of the newest checkpoint that stands or is under way
  int64_t num_failed_saves_ = 0;
  std::string last_save_error_;
  std::optional<EarlyStop> early_stop_;
  std::pair<int64_t, double> last_evaluation_{-1, 0.0};  // step, loss
  CollapseWarning collapse_warning_;
  std::unique_ptr<CheckpointWriter> writer_;  // last: its thread uses the others
};

}  // namespace

RunOutcome train_run(const RunConfig& config, Objective objective, const RunContext& context) {
  base::require<base::ConfigError>(!config.run.folder.empty(), "run.folder is empty: name where the run is kept");
  if (config.train.num_epochs > 0) {
    base::require_good(config);
    RunConfig in_steps = config;
    set_num_steps(in_steps, length_of_epochs(config));
    return train_run(in_steps, objective, context);
  }
  const base::PhaseScope phase(base::Phase::starting);
  parallel::compare_across_ranks(context.communicator, "configuration", context.resolved_config);
  parallel::compare_across_ranks(context.communicator, "program version", ROSA_VERSION);
  parallel::compare_across_ranks(context.communicator, "CPU capability", at::get_cpu_capability());
  for (const std::string& warning :
       check_before_training(config, objective, context.communicator.world_size(), context.origin)) {
    if (context.communicator.rank() == 0) base::log_warning(warning);
  }
  return Run(config, objective, context).run();
}

}  // namespace rosa::training
