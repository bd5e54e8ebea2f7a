#include "training/experiment/experiment_run.h"

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numeric>

#include "base/activity.h"
#include "base/error.h"
#include "base/file.h"
#include "base/log.h"
#include "parallel/replicas.h"
#include "training/optimizer.h"
#include "training/schedules.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr const char* kCheckpoints = "checkpoints";

// Takes the gradients that a backward left in the estimator's own weights, and clears them.
void take_estimator_gradients(GateEstimator* estimator, std::vector<double>& values) {
  if (estimator == nullptr) return;
  for (auto& [name, tensor] : estimator->parameters()) {
    at::Tensor gradient = tensor.grad();
    if (!gradient.defined()) gradient = at::zeros_like(tensor);
    const at::Tensor wide = gradient.to(at::kDouble).contiguous();
    values.insert(values.end(), wide.const_data_ptr<double>(), wide.const_data_ptr<double>() + wide.numel());
    gradient.zero_();
  }
}

}  // namespace

ExperimentRun::ExperimentRun(const ExperimentConfig& config, const ExperimentArm& arm, int64_t seed, fs::path folder,
                             parallel::Communicator& communicator, HostExecutor& executor)
    : config_(config),
      arm_(arm),
      seed_(seed),
      folder_(std::move(folder)),
      communicator_(communicator),
      task_(make_experiment_task(config, arm, static_cast<uint64_t>(seed), executor)),
      weights_(task_->parameters()),
      metrics_(folder_ / "metrics.jsonl") {
  const NamedTensors& parameters = task_->parameters();
  select_trained(parameters, {"*"}, config_.optimizer);  // for what it refuses
  std::vector<size_t> placement(parameters.size());
  std::iota(placement.begin(), placement.end(), size_t{0});
  engine_ = std::make_unique<StepEngine>(communicator_, config_.parallel, config_.optimizer, parameters,
                                         config_.data.micro_batches, placement);
  states_ = {{"model", &weights_}, {"optimizer", &engine_->optimizer()}, {"progress", &progress_}};
  if (is_main_rank()) states_["metrics"] = &metrics_;
  if (task_->estimator() != nullptr) states_["estimator"] = task_->estimator();
}

bool ExperimentRun::run(const std::function<bool()>& stop_requested, const BeforeStep& before_step) {
  resume();
  while (!is_finished()) {
    base::begin_step(progress_.num_steps);
    const bool stop = stop_requested && stop_requested();
    if (communicator_.all_reduce_values(std::vector<int64_t>{stop ? 1 : 0}, parallel::Reduction::max).front() != 0) {
      save_and_wait();
      return false;
    }
    if (before_step) {
      const std::string line = before_step(*task_, progress_.num_steps);
      if (!line.empty() && is_main_rank()) metrics_.write(line);
    }
    after_step(step(progress_.num_steps));
    save_if_due();
  }
  const base::PhaseScope phase(base::Phase::ending);
  if (writer_) warn_if_failed(writer_->finish());
  if (is_main_rank()) write_result();
  communicator_.barrier();
  return true;
}

bool ExperimentRun::is_finished() const {
  return progress_.num_steps >= config_.experiment.num_steps && progress_.seconds >= config_.experiment.seconds;
}

void ExperimentRun::resume() {
  if (is_main_rank()) fs::create_directories(folder_);
  communicator_.barrier();
  const ResumePoint point = find_resume_point({.run_folder = folder_, .mode = "auto"}, communicator_);
  record_ = point.record;
  if (point.checkpoint) point.checkpoint->load(states_);
  saved_seconds_ = progress_.seconds;
  if (is_main_rank()) metrics_.start(progress_.num_steps);
}

ExperimentRun::StepNumbers ExperimentRun::step(int64_t step) {
  const auto start = Clock::now();
  StepNumbers numbers;
  numbers.loss = train(step);
  // The slowest rank's time: so all ranks agree on when a budget is used up.
  const double own = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  numbers.milliseconds = communicator_.all_reduce_values(std::vector<double>{own}, parallel::Reduction::max).front();
  return numbers;
}

// Forward, backward, sum over the ranks, clip, update; returns the loss over the global batch.
double ExperimentRun::train(int64_t step) {
  const int64_t samples = config_.data.num_samples / config_.data.micro_batches;
  const auto [first, end] = engine_->owned();
  std::vector<std::vector<double>> values;  // of each micro-batch: its loss, then the estimator's gradients
  for (int64_t i = first; i < end; ++i) {
    at::Tensor loss;
    {
      const base::PhaseScope phase(base::Phase::student_forward);
      loss = task_->loss(step, i * samples, samples);
    }
    engine_->backward(loss);
    values.push_back({loss.item<double>()});
    take_estimator_gradients(task_->estimator(), values.back());
  }
  engine_->reduce();
  const std::vector<double> sums = engine_->sum(values);
  const double norm = engine_->gradient_norm();
  base::require<base::NumericError>(std::isfinite(sums.front()) && std::isfinite(norm), "'", arm_.label, "', seed ",
                                    seed_, ", step ", step, ": loss ", sums.front(), ", gradient norm ", norm,
                                    "; expected finite numbers. Is the learning rate too high?");
  engine_->update(schedule_value(config_.learning_rate, step, config_.experiment.num_steps));
  update_estimator(sums);
  return sums.front();
}

// `sums`: the loss, then the gradients of the estimator's weights over the global batch.
void ExperimentRun::update_estimator(const std::vector<double>& sums) {
  if (sums.size() < 2) return;
  const double* next = sums.data() + 1;
  for (auto& [name, tensor] : task_->estimator()->parameters()) {
    const at::Tensor wide = at::from_blob(const_cast<double*>(next), tensor.sizes(), at::kDouble);
    tensor.mutable_grad() = wide.to(tensor.scalar_type());
    next += tensor.numel();
  }
  task_->estimator()->update(static_cast<double>(config_.data.num_samples));
}

void ExperimentRun::after_step(const StepNumbers& numbers) {
  ++progress_.num_steps;
  progress_.seconds += numbers.milliseconds / 1000.0;
  progress_.step_ms.push_back(numbers.milliseconds);
  logged_loss_sum_ += numbers.loss;
  ++num_logged_losses_;
  if (is_main_rank() && (progress_.num_steps % config_.experiment.log_every == 0 || progress_.num_steps == 1)) {
    const nlohmann::ordered_json line = {{"kind", "step"},
                                         {"step", progress_.num_steps - 1},
                                         {"loss", logged_loss_sum_ / static_cast<double>(num_logged_losses_)},
                                         {"seconds", progress_.seconds},
                                         {"step_ms", numbers.milliseconds}};
    metrics_.write(line.dump());
    logged_loss_sum_ = 0.0;
    num_logged_losses_ = 0;
  }
  const bool at_steps = !progress_.equal_steps && progress_.num_steps >= config_.experiment.num_steps;
  const bool at_time =
      config_.experiment.seconds > 0 && !progress_.equal_time && progress_.seconds >= config_.experiment.seconds;
  if (!at_steps && !at_time && progress_.num_steps % config_.experiment.evaluate_every != 0) return;
  const ScoredPlace place = evaluate();
  if (at_steps) progress_.equal_steps = place;
  if (at_time) progress_.equal_time = place;
}

ScoredPlace ExperimentRun::evaluate() {
  const base::PhaseScope phase(base::Phase::evaluation);
  const ScoredPlace place{.num_steps = progress_.num_steps,
                          .seconds = progress_.seconds,
                          .score = task_->evaluate(/*zeroed=*/false),
                          .zeroed = task_->evaluate(/*zeroed=*/true)};
  if (progress_.best_loss == 0.0 || place.score.loss < progress_.best_loss) progress_.best_loss = place.score.loss;
  if (is_main_rank()) {
    nlohmann::ordered_json line = {{"kind", "evaluation"}, {"step", place.num_steps}};
    line.update(to_json(place));
    line.erase("steps");
    metrics_.write(line.dump());
  }
  return place;
}

// Runs are short: most end before their first checkpoint is due.
void ExperimentRun::save_if_due() {
  if (writer_) warn_if_failed(writer_->poll());
  if (is_finished() || progress_.seconds - saved_seconds_ < config_.experiment.save_seconds) return;
  begin_save();
}

void ExperimentRun::begin_save() {
  const base::PhaseScope phase(base::Phase::saving);
  if (!writer_) {
    WriterOptions options;
    options.retention.last = 1;
    options.on_commit = [this](const CheckpointInfo& info) {
      record_.last_saved_step = info.step;
      write_run_record(folder_, record_);
    };
    writer_ = std::make_unique<CheckpointWriter>(communicator_, folder_ / kCheckpoints, options);
  }
  warn_if_failed(writer_->finish());
  writer_->start({.run_id = record_.run_id, .step = progress_.num_steps, .evaluation_loss = {}}, states_, {});
  saved_seconds_ = progress_.seconds;
}

// A run goes on without a checkpoint: a later one may succeed, and its end needs none.
void ExperimentRun::warn_if_failed(const std::optional<SaveOutcome>& outcome) const {
  if (!outcome || outcome->ok() || !is_main_rank()) return;
  base::log_warning(base::concat("'", arm_.label, "', seed ", seed_, ": the checkpoint of step ", outcome->step,
                                 " was not saved, the run goes on: ", outcome->error));
}

void ExperimentRun::save_and_wait() {
  if (progress_.num_steps == 0) return;
  begin_save();
  const auto outcome = writer_->finish();
  base::require<base::CheckpointError>(outcome && outcome->ok(),
                                       "the run's checkpoint was not saved: ", outcome ? outcome->error : "");
}

// Rank 0. The result is the mark of a finished run; its checkpoints are of no use then.
void ExperimentRun::write_result() {
  nlohmann::ordered_json result = {{"label", arm_.label},
                                   {"seed", seed_},
                                   {"num_steps", progress_.num_steps},
                                   {"seconds", progress_.seconds},
                                   {"steps_per_second", static_cast<double>(progress_.num_steps) / progress_.seconds},
                                   {"step_ms", summary_json(progress_.step_ms)},
                                   {"equal_steps", to_json(*progress_.equal_steps)}};
  if (progress_.equal_time) result["equal_time"] = to_json(*progress_.equal_time);
  result["best_loss"] = progress_.best_loss;
  result["final_loss"] = task_->evaluate(/*zeroed=*/false).loss;
  task_->add_results(result);
  base::write_file_atomically(folder_ / kResultFile, result.dump(1) + "\n");
  fs::remove_all(folder_ / kCheckpoints);
}

}  // namespace rosa::training
