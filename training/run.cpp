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
#include "training/current_stage.h"
#include "training/fault_injection.h"
#include "training/lora.h"
#include "training/progress.h"
#include "training/resume.h"
#include "training/run_folder.h"
#include "training/run_identity.h"
#include "training/run_length.h"
#include "training/save_fault.h"
#include "training/text_samples.h"
#include "training/trained_base.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;

bool any_rank(parallel::Communicator& communicator, bool value) {
  return communicator.all_reduce_values(std::vector<int64_t>{value ? 1 : 0}, parallel::Reduction::max).front() != 0;
}

// The loop of a run and its folder.
class Run {
 public:
  Run(const Stages& stages, Objective objective, const RunContext& context)
      : stages_(stages),
        config_(stages.front().config),
        objective_(objective),
        context_(context),
        communicator_(context.communicator),
        objects_(build_run(config_, objective, context.communicator)),
        stage_(stages, objects_, context.communicator),
        identity_(identity_of_run(), context.accept_changed,
                  context.advice_on_changes.empty() ? advice(config_) : context.advice_on_changes,
                  context.advice_on_changes.empty()) {
    objects_.require_same_files();
    install_automaton_fault(*objects_.executor);
    enter_stage({});
  }

  RunOutcome run() {
    prepare_folder();
    resume_or_start();
    make_writer();
    observe([&](TrainingObserver& o) { o.on_notice(optimizer_memory_text()); });
    tell_start();
    try {
      if (is_new_ && config_.evaluation.at_start && config_.evaluation.every > 0) evaluate();
      RunOutcome outcome = train_stage();
      for (; outcome == RunOutcome::finished && !stage_.is_last(); outcome = train_stage()) begin_next_stage();
      if (outcome == RunOutcome::finished) finish();
      observe([&](TrainingObserver& o) { o.on_end(); });
      communicator_.barrier();
      return outcome;
    } catch (const base::NumericError&) {  // thrown alike on every rank, so all can still end what was begun
      const base::PhaseScope phase(base::Phase::saving);
      tell_end_of_save(writer_->finish(), "the run ends");
      throw;
    }
  }

 private:
  RunOutcome train_stage() {
    while (progress_.num_steps_of_stage() < stage_.config().train.num_steps && !stops_early()) {
      base::begin_step(progress_.num_steps_done);
      settle_save(writer_->poll());
      if (any_rank(communicator_, context_.stop_requested && context_.stop_requested())) {
        save_and_wait();
        return RunOutcome::stopped;
      }
      const StepMetrics metrics = stage_.trainer().step(progress_.num_steps_done);
      if (metrics.decision == StepDecision::roll_back) {
        roll_back();
        continue;
      }
      ++progress_.num_steps_done;
      inject_weight_fault(stage_.trainer().trained(), metrics.step);
      if (due(config_.failures.drift_every)) compare_replicas();
      observe([&](TrainingObserver& o) { o.on_step(metrics); });
      for (const std::string& warning : collapse_warning_.check(metrics.layers, metrics.step)) {
        observe([&](TrainingObserver&) { base::log_warning(warning); });
      }
      if (due(config_.evaluation.every)) evaluate();
      if (due(config_.checkpoint.every)) begin_save();
      if (due(config_.evaluation.every) || due(config_.checkpoint.every)) end_if_files_are_gone();
    }
    if (progress_.num_steps_of_stage() < stage_.config().train.num_steps) tell_early_stop();
    return RunOutcome::finished;
  }

  void finish() {
    save_and_wait();
    const base::PhaseScope phase(base::Phase::ending);
    if (objective_ == Objective::pretrain && communicator_.rank() == 0) {
      models::export_model(*objects_.model, fs::path(config_.run.folder) / "model");
    }
  }

  // The end of a stage is saved, as that of a run: there it can be resumed, and gone back to.
  void begin_next_stage() {
    begin_save();
    settle_save(writer_->finish());
    enter_stage(stage_.next(progress_));
    stage_.start_consumed_log(progress_.num_steps_done);
    observe([&](TrainingObserver& o) {
      o.on_notice(base::concat(stage_.title(), ": ", stage_.config().train.num_steps, " steps from step ",
                               progress_.num_steps_done));
      o.on_notice(optimizer_memory_text());
    });
  }

  void enter_stage(const StagePlace& place) {
    if (place.index != stage_.place().index || place.first_step != stage_.place().first_step) stage_.enter(place);
    progress_.place = place;
    progress_.samples_per_step = stage_.samples_per_step();
    states_ = stage_.states();
    states_["progress"] = &progress_;
    states_["identity"] = &identity_;
    states_.insert(context_.states.begin(), context_.states.end());
  }

  void tell_start() {
    observe([&](TrainingObserver& o) { o.on_start(progress_.num_steps_done, num_steps(stages_, stage_.place())); });
    stage_.start_consumed_log(progress_.num_steps_done);
  }

  // As rank 0 sees it, so that all ranks do the same.
  bool stops_early() {
    const EarlyStop* stop = stage_.early_stop();
    return stop != nullptr && any_rank(communicator_, communicator_.rank() == 0 && stop->is_reached());
  }

  void tell_early_stop() {
    observe([&](TrainingObserver& o) {
      const std::string title = stage_.title();
      o.on_notice(base::concat(title.empty() ? "" : title + " ", "stopped early after ", progress_.num_steps_of_stage(),
                               " of ", stage_.config().train.num_steps,
                               " steps (train.early_stop): ", stage_.early_stop()->reason()));
    });
  }

  // Those of the run that the checkpoint has: one from before train.early_stop was set has no state of it, and where
  // other tensors are accepted, what is trained beside the adapters may start anew.
  States states_in(const Checkpoint& checkpoint) const {
    States states = states_;
    const auto names = checkpoint.state_names();
    const bool accepts_others = identity_.accepts_other_tensors();
    for (const char* name : {"early_stop", kBaseState, kLoraState}) {
      const bool may_lack = accepts_others || std::string_view(name) == "early_stop";
      if (may_lack && std::find(names.begin(), names.end(), name) == names.end()) states.erase(name);
    }
    return states;
  }

  template <class Tell>
  void observe(Tell tell) {
    if (communicator_.rank() == 0) tell(context_.observer);
  }

  std::string optimizer_memory_text() const {
    const bool sharded = config_.parallel.sharded_optimizer && communicator_.world_size() > 1;
    const auto kib = static_cast<double>(stage_.trainer().optimizer_bytes()) / 1024.0;
    const std::string where = sharded ? base::concat("on rank 0, sharded over ", communicator_.world_size(), " ranks")
                                      : std::string("on every rank");
    return base::concat(
        "optimiser state: ", kib < 1024 ? base::concat(kib, " KiB ") : base::concat(kib / 1024, " MiB "), where);
  }

  static std::string advice(const RunConfig& config) {
    const std::string usual = "else use a new run.folder, with train.init_from for a warm start";
    if (config.recipe != "rosa_soft") return usual;
    return usual + "; what recipe rosa_soft was before is recipe rosa_soft_20251121 now";
  }

  bool due(int64_t every) const { return every > 0 && progress_.num_steps_done % every == 0; }

  // Read before anything of the run's folder is touched, and the same on every rank.
  IdentityFields identity_of_run() const {
    IdentityFields fields = stage_.identity(stages_, objective_);
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
        if (!stage_.title().empty()) o.on_notice(stage_.title());
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
    enter_stage(place_of(checkpoint.state("progress")));
    if (identity_.accepts_other_tensors()) stage_.trainer().accept_other_tensors();
    checkpoint.load(states_in(checkpoint));
    observe([&](TrainingObserver& o) {
      for (const std::string& change : identity_.accepted_changes()) o.on_notice("accepted a change: " + change);
      if (!identity_.unrecorded().empty()) o.on_notice(identity_.unrecorded_text());
      for (const std::string& name : checkpoint.state_names()) {
        if (!states_.contains(name)) o.on_notice("the checkpoint's state '" + name + "' is not used by this run");
      }
      o.on_notice(base::concat("resumed from ", checkpoint.folder().string(), " (run ", point.record.run_id, ") after ",
                               progress_.num_steps_done, " of ", num_steps(stages_, stage_.place()), " steps"));
      if (!stage_.title().empty()) o.on_notice(stage_.title());
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
    objects_.require_same_files();
    EvaluationMetrics evaluation = stage_.trainer().evaluate(progress_.num_steps_done);
    evaluation.stage = stage_.stage().name;
    if (suite_is_due()) {
      const base::PhaseScope phase(base::Phase::evaluation);
      context_.run_suite(stage_.config(), stage_.parts(), evaluation);
    }
    if (config_.evaluation.samples > 0) {
      const base::PhaseScope phase(base::Phase::evaluation);
      for (const ContinuedText& text : continue_held_out_texts(stage_.config(), stage_.parts())) {
        evaluation.samples.push_back({text_of(text.prompt), text_of(text.continuation), text_of(text.reference)});
      }
    }
    note_best(evaluation);
    if (stage_.early_stop() != nullptr) stage_.early_stop()->note(evaluation);
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
    parallel::compare_replicas(communicator_, stage_.trainer().trained(),
                               base::concat("after step ", progress_.num_steps_done - 1));
  }

  // Weights that lie in files which no longer have their names are what they were, so that the step is worth saving;
  // but nobody could go on from it, and nobody should train for long before that is said.
  void end_if_files_are_gone() {
    std::string trouble;
    for (const std::string& text : communicator_.all_gather_text(objects_.trouble_with_files())) {
      if (trouble.empty()) trouble = text;
    }
    if (trouble.empty()) return;
    save_and_wait();
    throw base::FileError(base::concat(trouble, " while the run used its weights; step ", progress_.num_steps_done,
                                       " is saved: put the file back, then start again"));
  }

  // Back to the newest checkpoint; what the guard has learnt since stays.
  void roll_back() {
    settle_save(writer_->finish());
    ResumeRequest request = resume_request();
    if (request.mode == "none") request.mode = "auto";  // said of the start
    ResumePoint point = find_resume_point(request, communicator_);
    base::require<base::NumericError>(point.checkpoint.has_value(), "step ", progress_.num_steps_done,
                                      " is not finite and there is no checkpoint to go back to");
    const StagePlace place = place_of(point.checkpoint->state("progress"));
    const bool is_border = place.index != stage_.place().index;  // the end of the stage before, whose guard counts on
    if (is_border) enter_stage(place);
    stage_.trainer().step_guard().roll_back([&] { point.checkpoint->load(states_in(*point.checkpoint)); });
    observe([&](TrainingObserver& o) { o.on_notice("rolled back to " + point.checkpoint->folder().string()); });
    go_on_from(request, point);
    record_ = point.record;
    writer_->set_parent(parent_);
    tell_start();
  }

  // Begins the save of this step; training may go on. A save that is still under way is waited for.
  void begin_save() {
    if (saved_step_ == progress_.num_steps_done) return;
    const base::PhaseScope phase(base::Phase::saving);
    objects_.require_same_files();
    stage_.trainer().require_finite_weights();
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
  const Stages& stages_;
  const RunConfig& config_;  // of the first stage, and in what is not a stage's own of all
  Objective objective_;
  const RunContext& context_;
  parallel::Communicator& communicator_;
  RunObjects objects_;
  CurrentStage stage_;
  Progress progress_;
  RunIdentity identity_;
  States states_;
  RunRecord record_;
  std::optional<ParentCheckpoint> parent_;  // that the run went on from
  bool is_new_ = false;                     // no checkpoint was resumed
  int64_t saved_step_ = -1;                 // of the newest checkpoint that stands or is under way
  int64_t num_failed_saves_ = 0;
  std::string last_save_error_;
  std::pair<int64_t, double> last_evaluation_{-1, 0.0};  // step, loss
  CollapseWarning collapse_warning_;
  std::unique_ptr<CheckpointWriter> writer_;  // last: its thread uses the others
};

}  // namespace

RunOutcome train_run(const Stages& stages, Objective objective, const RunContext& context) {
  const RunConfig& config = stages.front().config;
  base::require<base::ConfigError>(!config.run.folder.empty(), "run.folder is empty: name where the run is kept");
  const base::PhaseScope phase(base::Phase::starting);
  parallel::compare_across_ranks(context.communicator, "configuration", context.resolved_config);
  parallel::compare_across_ranks(context.communicator, "program version", ROSA_VERSION);
  parallel::compare_across_ranks(context.communicator, "CPU capability", at::get_cpu_capability());
  for (const std::string& warning : check_stages(stages, objective, context.communicator.world_size())) {
    if (context.communicator.rank() == 0) base::log_warning(warning);
  }
  return Run(stages, objective, context).run();
}

RunOutcome train_run(const RunConfig& config, Objective objective, const RunContext& context) {
  RunConfig in_steps = config;
  if (config.train.num_epochs > 0) {
    base::require_good(config);
    set_num_steps(in_steps, length_of_epochs(config));
  }
  return train_run(Stages{{.name = {}, .config = in_steps, .origin = {}}}, objective, context);
}

}  // namespace rosa::training
