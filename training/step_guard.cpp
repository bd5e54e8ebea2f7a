#include "training/step_guard.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <variant>

#include "base/error.h"
#include "base/log.h"

namespace rosa::training {
namespace {

using base::concat;
using base::require;
using base::Role;

constexpr int64_t kLeastHistory = 16;
constexpr double kDeviationOfMad = 1.4826;  // of a normal distribution, from its median absolute deviation
constexpr double kLeastDeviation = 0.02;    // a loss that hardly moves makes no spikes of its noise
constexpr double kLeastLoss = 1e-12;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

template <class Number>
base::StateTensor to_tensor(const std::vector<Number>& values, const char* dtype) {
  base::StateTensor tensor;
  tensor.dtype = dtype;
  tensor.shape = {static_cast<int64_t>(values.size())};
  tensor.bytes.resize(values.size() * sizeof(Number));
  if (!values.empty()) std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
  return tensor;
}

template <class Number>
std::vector<Number> from_tensor(const base::StateDict& state, const std::string& name, const char* dtype) {
  const auto found = state.tensors.find(name);
  require<base::CheckpointError>(
      found != state.tensors.end() && found->second.dtype == dtype && found->second.bytes.size() % sizeof(Number) == 0,
      "the checkpoint holds no ", dtype, " tensor '", name, "' of the step guard");
  std::vector<Number> values(found->second.bytes.size() / sizeof(Number));
  if (!values.empty()) std::memcpy(values.data(), found->second.bytes.data(), found->second.bytes.size());
  return values;
}

int64_t integer(const base::StateDict& state, const std::string& name) {
  const auto found = state.values.find(name);
  require<base::CheckpointError>(found != state.values.end() && std::holds_alternative<int64_t>(found->second),
                                 "the checkpoint holds no integer '", name, "' of the step guard");
  return std::get<int64_t>(found->second);
}

}  // namespace

void describe(base::FieldVisitor& visitor, StepGuardConfig& config) {
  visitor.choice("on_non_finite", config.on_non_finite, Role::recipe,
                 {{"stop", OnNonFinite::stop}, {"skip", OnNonFinite::skip}, {"roll_back", OnNonFinite::roll_back}},
                 "what a loss or gradient that is not finite does: end the run, skip the update, or go back to the "
                 "newest checkpoint and skip the step when it comes again");
  visitor.field("max_in_a_row", config.max_in_a_row, Role::place,
                "steps skipped in a row, or roll-backs in the whole run, after which it ends all the same",
                {0, base::kMaxSteps});
  visitor.choice("on_spike", config.on_spike, Role::recipe,
                 {{"ignore", OnSpike::ignore}, {"log", OnSpike::log}, {"skip", OnSpike::skip}},
                 "what a loss spike does: nothing, a warning, or a warning and the update is skipped");
  visitor.field("spike_deviations", config.spike_deviations, Role::recipe,
                "robust standard deviations of the log loss above its median that make a spike", {1.0, 1e6});
  visitor.field("spike_window", config.spike_window, Role::recipe, "steps that median and deviation are taken of",
                {kLeastHistory, 100000});
}

StepGuard::StepGuard(const StepGuardConfig& config) : config_(config) {}

StepDecision StepGuard::decide(const StepNumbers& numbers, const std::function<std::string()>& blame,
                               parallel::Communicator& communicator) {
  const bool is_main_rank = communicator.rank() == 0;
  const bool finite = std::isfinite(numbers.loss) && std::isfinite(numbers.gradient_norm);
  const double spike = finite && config_.on_spike != OnSpike::ignore ? spike_of(numbers.loss) : 0.0;
  const bool is_spike = spike > config_.spike_deviations;
  // The numbers are the same on every rank, unless replicas have drifted; then too the ranks must not part.
  const auto agreed =
      communicator.all_reduce_values(std::vector<int64_t>{finite ? 0 : 1, is_spike ? 1 : 0}, parallel::Reduction::max);
  if (agreed[0] != 0) {
    std::string text;
    const std::vector<std::string> blames = communicator.all_gather_text(blame());
    for (std::size_t rank = 0; rank < blames.size(); ++rank) {
      if (!blames[rank].empty()) text += concat("; on rank ", rank, ": ", blames[rank]);
    }
    return decide_non_finite(numbers, text, is_main_rank);
  }
  log_losses_.push_back(std::log(std::max(numbers.loss, kLeastLoss)));
  if (static_cast<int64_t>(log_losses_.size()) > config_.spike_window) log_losses_.erase(log_losses_.begin());
  if (failed_steps_.contains(numbers.step)) {
    ++num_skipped_;
    if (is_main_rank) base::log_warning(concat("step ", numbers.step, " had failed before: its update is skipped"));
    return StepDecision::skip;
  }
  in_a_row_ = 0;
  if (agreed[1] == 0) return StepDecision::update;
  ++num_spikes_;
  const bool skips = config_.on_spike == OnSpike::skip;
  if (skips) ++num_skipped_;
  if (is_main_rank) {
    base::log_warning(concat("step ", numbers.step, ": the loss spikes to ", numbers.loss, ", ", spike,
                             " robust deviations above its median", skips ? "; the update is skipped" : ""));
  }
  return skips ? StepDecision::skip : StepDecision::update;
}

StepDecision StepGuard::decide_non_finite(const StepNumbers& numbers, const std::string& blame, bool is_main_rank) {
  const std::string what = concat("step ", numbers.step, ": the loss is ", numbers.loss, " and the gradient norm ",
                                  numbers.gradient_norm, blame);
  // Before the first update neither rate nor clipping has done anything.
  const std::string advice = concat("; the weights are left as they were. ",
                                    numbers.step == 0 ? "No update was made before: look at the weights the run starts "
                                                        "from, at model.compute_dtype and at the temperatures"
                                                      : "Try a lower learning rate or clip");
  require<base::NumericError>(config_.on_non_finite != OnNonFinite::stop, what, advice);
  if (config_.on_non_finite == OnNonFinite::skip || failed_steps_.contains(numbers.step)) {
    ++in_a_row_;
    require<base::NumericError>(in_a_row_ <= config_.max_in_a_row, what, "; ", in_a_row_,
                                " steps in a row are not finite (failures.max_in_a_row is ", config_.max_in_a_row, ")",
                                advice);
    ++num_skipped_;
    if (is_main_rank) base::log_warning(what + "; the update is skipped");
    return StepDecision::skip;
  }
  require<base::NumericError>(num_roll_backs_ < config_.max_in_a_row, what, "; the run was rolled back ",
                              num_roll_backs_, " times before (failures.max_in_a_row is ", config_.max_in_a_row, ")",
                              advice);
  ++num_roll_backs_;
  failed_steps_.insert(numbers.step);
  if (is_main_rank) base::log_warning(what + "; going back to the newest checkpoint");
  return StepDecision::roll_back;
}

void StepGuard::roll_back(const std::function<void()>& load) {
  const StepGuard before = *this;
  load();
  failed_steps_.insert(before.failed_steps_.begin(), before.failed_steps_.end());
  num_skipped_ = before.num_skipped_;
  num_spikes_ = before.num_spikes_;
  num_roll_backs_ = before.num_roll_backs_;
}

double StepGuard::spike_of(double loss) const {
  if (static_cast<int64_t>(log_losses_.size()) < kLeastHistory) return 0.0;
  const double middle = median(log_losses_);
  std::vector<double> distances;
  for (const double value : log_losses_) distances.push_back(std::abs(value - middle));
  const double deviation = std::max(kDeviationOfMad * median(std::move(distances)), kLeastDeviation);
  return (std::log(std::max(loss, kLeastLoss)) - middle) / deviation;
}

base::StateDict StepGuard::save_state() const {
  base::StateDict state;
  state.tensors["log_losses"] = to_tensor(log_losses_, "F64");
  state.tensors["failed_steps"] = to_tensor(std::vector<int64_t>(failed_steps_.begin(), failed_steps_.end()), "I64");
  state.values["in_a_row"] = in_a_row_;
  state.values["num_skipped"] = num_skipped_;
  state.values["num_spikes"] = num_spikes_;
  state.values["num_roll_backs"] = num_roll_backs_;
  return state;
}

void StepGuard::follow(const base::StateDict& state) {
  load_state(state);
  log_losses_.clear();
  in_a_row_ = 0;
}

void StepGuard::load_state(const base::StateDict& state) {
  log_losses_ = from_tensor<double>(state, "log_losses", "F64");
  const auto failed = from_tensor<int64_t>(state, "failed_steps", "I64");
  failed_steps_ = {failed.begin(), failed.end()};
  in_a_row_ = integer(state, "in_a_row");
  num_skipped_ = integer(state, "num_skipped");
  num_spikes_ = integer(state, "num_spikes");
  num_roll_backs_ = integer(state, "num_roll_backs");
}

}  // namespace rosa::training
