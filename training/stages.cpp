#include "training/stages.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include "base/error.h"
#include "training/field_values.h"
#include "training/run_identity.h"

namespace rosa::training {
namespace {

using base::concat;

constexpr const char* kSections[] = {"loss.", "schedules.", "optimizer.", "student.", "train.", "data."};
constexpr const char* kKeys[] = {"adapter.estimator",
                                 "adapter.proxy_kernel",
                                 "adapter.proxy_mask",
                                 "adapter.flip_scale",
                                 "adapter.sufa_head_dim",
                                 "adapter.position_bias",
                                 "adapter.exact_value_gradient",
                                 "adapter.query_key_gradient",
                                 "adapter.gradient_dropout",
                                 "adapter.gradient_dropout_unit"};
// Of those sections: what the run begins with, and what it is judged by.
constexpr const char* kOfTheRun[] = {"train.init_from",      "data.kind",          "data.held_out_path",
                                     "data.vocabulary_size", "data.alphabet_size", "data.accept_other_tokenizer"};

std::map<std::string, std::string> all_values(RunConfig config) {
  return field_values([&config](base::FieldVisitor& visitor) { describe(visitor, config); },
                      {base::Role::recipe, base::Role::place, base::Role::free});
}

}  // namespace

bool is_key_of_stage(const std::string& key) {
  if (std::find(std::begin(kOfTheRun), std::end(kOfTheRun), key) != std::end(kOfTheRun)) return false;
  if (std::find(std::begin(kKeys), std::end(kKeys), key) != std::end(kKeys)) return true;
  return std::any_of(std::begin(kSections), std::end(kSections),
                     [&key](const char* section) { return key.starts_with(section); });
}

std::string keys_of_stages() {
  std::string text;
  for (const char* section : kSections) text += concat(text.empty() ? "" : ", ", section, "*");
  text += " (but not ";
  for (const char* key : kOfTheRun) text += concat(key == kOfTheRun[0] ? "" : ", ", key);
  text += ")";
  for (const char* key : kKeys) text += concat(key == *std::prev(std::end(kKeys)) ? " and " : ", ", key);
  return text;
}

void check_keys_of_stage(const Stage& stage, const RunConfig& run) {
  const auto common = all_values(run), own = all_values(stage.config);
  const auto is_wrong = [&](const auto& entry) {
    return entry.second != common.at(entry.first) && !is_key_of_stage(entry.first);
  };
  // A recipe changes many others.
  auto first = own.find("recipe");
  if (!is_wrong(*first)) first = std::find_if(own.begin(), own.end(), is_wrong);
  if (first != own.end()) {
    const std::string& key = first->first;
    const auto source = stage.origin.sources.find(key);
    throw base::ConfigError(concat(source == stage.origin.sources.end() ? "" : source->second + ": ", key,
                                   ": is the same in the whole run, and stage '", stage.name,
                                   "' overrides it; a stage may override ", keys_of_stages()));
  }
}

void note_trained_base(Stages& stages) {
  std::vector<std::string> patterns;
  for (const Stage& stage : stages) {
    const auto& own = stage.config.train.trainable_base;
    patterns.insert(patterns.end(), own.begin(), own.end());
  }
  for (Stage& stage : stages) stage.config.train.base_of_run = patterns;
}

int64_t num_steps(const Stages& stages) { return num_steps(stages, {}); }

int64_t num_steps(const Stages& stages, const StagePlace& place) {
  int64_t sum = place.first_step;
  for (auto i = static_cast<std::size_t>(place.index); i < stages.size(); ++i) {
    sum += stages[i].config.train.num_steps;
  }
  return sum;
}

std::string key_in_stage(const std::string& stage, const std::string& key) {
  return stage.empty() || !is_key_of_stage(key) ? key : concat("stages.", stage, ".", key);
}

std::map<std::string, std::string> recipe_of_stages(const Stages& stages) {
  std::map<std::string, std::string> values;
  std::string names;
  for (const Stage& stage : stages) {
    if (!stage.name.empty()) names += concat(names.empty() ? "" : ", ", stage.name);
    for (const auto& [key, value] : recipe_values(stage.config)) values[key_in_stage(stage.name, key)] = value;
  }
  values["stages"] = names.empty() ? "none" : names;
  return values;
}

std::string stage_title(const Stages& stages, std::size_t index) {
  const std::string& name = stages[index].name;
  return name.empty() ? "" : concat("stage ", name, " (", index + 1, " of ", stages.size(), ")");
}

void in_stage(const Stages& stages, std::size_t index, const std::function<void()>& job) {
  const std::string title = stage_title(stages, index);
  if (title.empty()) return job();
  const auto text = [&title](const base::Error& error) { return concat(title, ": ", error.what()); };
  try {
    job();
  } catch (const base::ConfigError& error) {
    throw base::ConfigError(text(error));
  } catch (const base::DataError& error) {
    throw base::DataError(text(error));
  } catch (const base::FileError& error) {
    throw base::FileError(text(error));
  }
}

bool go_on_in_data(const RunConfig& before, const RunConfig& after) {
  const TrainSection &first = before.train, &second = after.train;
  if (first.micro_batches * first.micro_batch_sequences != second.micro_batches * second.micro_batch_sequences) {
    return false;
  }
  const auto values = [](DataConfig config) {
    return field_values([&config](base::FieldVisitor& visitor) { describe(visitor, config); },
                        {base::Role::recipe, base::Role::place});
  };
  return values(before.data) == values(after.data);
}

}  // namespace rosa::training
