#include "training/current_stage.h"

#include <utility>

#include "base/error.h"

namespace rosa::training {

CurrentStage::CurrentStage(const Stages& stages, RunObjects& objects, parallel::Communicator& communicator)
    : stages_(stages), objects_(objects), communicator_(communicator) {
  data_.push_back(
      std::make_shared<StageData>(StageData{std::move(objects.training_data), std::move(objects.held_out_data)}));
  for (std::size_t i = 1; i < stages.size(); ++i) {
    std::size_t same = 0;
    while (same < i && !go_on_in_data(stages[same].config, stages[i].config)) ++same;
    if (same < i) {
      data_.push_back(data_[same]);
      continue;
    }
    in_stage(stages, i, [&] {
      RunData data = open_data(stages[i].config, *objects.model, needs_of_training(stages[i].config));
      data_.push_back(std::make_shared<StageData>(StageData{std::move(data.training), std::move(data.held_out)}));
    });
  }
  check_later_held_out_data();
  in_stage(stages, 0, [this] { enter({}); });
}

// At the start, not at a border hours later. A trainer looks at its own: the first stage's is made at once.
void CurrentStage::check_later_held_out_data() const {
  for (std::size_t i = 1; i < stages_.size(); ++i) {
    if (stages_[i].config.evaluation.every == 0) continue;
    in_stage(stages_, i, [&] { check_held_out_data(stages_[i].config, *data_of(i).held_out); });
  }
}

int64_t CurrentStage::samples_per_step() const {
  return config().train.micro_batches * config().train.micro_batch_sequences;
}

void CurrentStage::enter(const StagePlace& place) {
  base::require<base::CheckpointError>(place.index < static_cast<int64_t>(stages_.size()),
                                       "the checkpoint is of stage ", place.index + 1, ", but the run has only ",
                                       stages_.size());
  const std::optional<base::StateDict> counted =
      trainer_ ? std::optional(trainer_->step_guard().save_state()) : std::nullopt;
  trainer_.reset();
  early_stop_.reset();
  consumed_log_.reset();
  shifted_.reset();
  place_ = place;

  const DataSource& source = *data_of(static_cast<std::size_t>(place.index)).training;
  if (config().logging.consumed_samples) {
    consumed_log_ = std::make_unique<ConsumedLog>(source, std::filesystem::path(config().run.folder) / "consumed",
                                                  samples_per_step(), place);
  } else if (place.first_data_step > 0) {
    shifted_ = std::make_unique<ShiftedSource>(source, place.first_data_step);
  }
  if (objects_.adapters) objects_.adapters->use_estimator(config().adapter);
  trainer_ = std::make_unique<Trainer>(
      config(), parts(),
      StepSpan{.stage = stage().name, .first_step = place.first_step, .num_steps_of_run = num_steps(stages_, place)});
  if (counted) trainer_->step_guard().follow(*counted);
  if (config().train.early_stop.patience > 0) early_stop_.emplace(config().train.early_stop);
}

void CurrentStage::start_consumed_log(int64_t step) {
  if (consumed_log_ != nullptr) consumed_log_->start(step, communicator_);
}

StagePlace CurrentStage::next(const Progress& progress) const {
  const RunConfig& after = stages_[static_cast<std::size_t>(place_.index + 1)].config;
  return {.index = place_.index + 1,
          .first_step = progress.num_steps_done,
          .first_sample = progress.num_samples_done(),
          .first_data_step = go_on_in_data(config(), after) ? place_.first_data_step : progress.num_steps_done};
}

RunParts CurrentStage::parts() const {
  const StageData& data = data_of(static_cast<std::size_t>(place_.index));
  if (consumed_log_) return objects_.parts(communicator_, *consumed_log_, *data.held_out);
  if (shifted_) return objects_.parts(communicator_, *shifted_, *data.held_out);
  return objects_.parts(communicator_, *data.training, *data.held_out);
}

States CurrentStage::states() {
  States states = trainer_->state();
  if (early_stop_) states["early_stop"] = &*early_stop_;
  return states;
}

IdentityFields CurrentStage::identity(const Stages& stages, Objective objective) const {
  const RunConfig& first = stages.front().config;
  const bool from_scratch = objective == Objective::pretrain && first.model.from_scratch;
  IdentityFields fields =
      identity_fields(first, from_scratch, *objects_.model, *data_of(0).training, *data_of(0).held_out);
  for (const auto& entry : recipe_values(first)) fields.values.erase(entry.first);
  fields.values.merge(recipe_of_stages(stages));
  if (objective == Objective::distill) {
    std::erase_if(fields.values, [](const auto& entry) { return entry.first.ends_with(kDecayOfBase); });
  }
  if (stages.size() > 1) fields.values["data"] = content_of_training_data();
  return fields;
}

std::string CurrentStage::content_of_training_data() const {
  const std::string first = data_of(0).training->content();
  std::string text = first;
  for (std::size_t i = 1; i < stages_.size(); ++i) {
    const std::string own = data_of(i).training->content();
    if (own != first) text += base::concat("; ", stages_[i].name, ": ", own);
  }
  return text;
}

}  // namespace rosa::training
