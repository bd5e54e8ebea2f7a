#include "training/run_identity.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <sstream>

#include "base/checksum.h"
#include "base/error.h"
#include "base/printable.h"
#include "training/field_values.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::concat;
using base::require;
using base::Role;
using Values = std::map<std::string, std::string>;

Values values_of(RunConfig config, const std::set<Role>& roles) {
  return field_values([&config](base::FieldVisitor& visitor) { describe(visitor, config); }, roles);
}

constexpr const char* kRun = "run";  // the run's id, not the section
constexpr const char* kStageNames = "stages";
constexpr const char* kGlobalBatch = "global_batch";
constexpr const char* kFromScratch = "from scratch";

// Short names for keys; those that the first versions of the program knew.
const std::map<std::string, std::set<std::string>>& groups() {
  static const std::map<std::string, std::set<std::string>> groups = {
      {"num_steps", {"train.num_steps"}},
      {"seed", {"run.seed"}},
      {"compute_threads", {"compute.threads"}},
      {kGlobalBatch, {"train.micro_batches", "train.micro_batch_sequences"}},
      {"vocabulary", {"data.vocabulary_size", "data.alphabet_size", "model.architecture.vocab_size"}}};
  return groups;
}

// Contents that follow from keys: who accepts the key's change accepts the content's.
const std::map<std::string, std::set<std::string>>& causes() {
  static const std::map<std::string, std::set<std::string>> causes = {
      {"data", {"data.kind", "data.sources"}},
      {"held_out_data", {"data.kind"}},
      {"model", {"model.from_scratch"}},
      {"tokenizer", {"model.from_scratch"}},
      {"vocabulary",
       {"data.kind", "data.vocabulary_size", "data.alphabet_size", "model.architecture.vocab_size",
        "model.from_scratch"}}};
  return causes;
}

constexpr const char* kTokenizerFiles[] = {"added_tokens.json", "merges.txt",      "special_tokens_map.json",
                                           "tokenizer.json",    "tokenizer.model", "tokenizer_config.json",
                                           "vocab.json"};

// "NAME=CHECKSUM ..." of those files that there are.
std::string files_text(const fs::path& folder, const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!fs::is_regular_file(folder / name)) continue;
    text += concat(text.empty() ? "" : " ", base::as_utf8(name), "=", base::to_hex(base::file_checksum(folder / name)));
  }
  return text.empty() ? "none" : text;
}

std::string model_text(const fs::path& folder) {
  std::vector<std::string> names = {"config.json"};
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name.ends_with(".safetensors")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return files_text(folder, names);
}

// "start=1 end=0" of a section, as the first versions wrote it, by full key.
void add_pieces(const std::string& section, const std::string& text, Values& values) {
  std::istringstream pieces(text);
  for (std::string piece; pieces >> piece;) {
    const size_t equals = piece.find('=');
    if (equals != std::string::npos) values[section + "." + piece.substr(0, equals)] = piece.substr(equals + 1);
  }
}

// What the first versions saved, by the names of today; data and the global batch stay in their earlier form.
Values from_earlier_form(Values saved) {
  Values values;
  for (const auto& [name, text] : saved) {
    if (name == "schedules") {
      add_pieces(name, text, values);
    } else if (name == "model" && text.starts_with(concat(kFromScratch, ": "))) {
      values[name] = kFromScratch;
      add_pieces("model.architecture", text.substr(std::string(kFromScratch).size() + 2), values);
    } else if (const size_t as = text.rfind(" as "); name == "model" && as != std::string::npos) {
      values[name] = text.substr(0, as);
      values["model.compute_dtype"] = text.substr(as + 4);
    } else if (const auto group = groups().find(name); group != groups().end() && group->second.size() == 1) {
      values[*group->second.begin()] = text;
    } else {
      values[name] = text;
    }
  }
  return values;
}

// Numbers may be written in different forms: 1 and 1.0, 0.1 and 0.10000000000000001.
bool are_equal(const std::string& left, const std::string& right) {
  if (left == right) return true;
  if ((left + right).find_first_of(".eE") == std::string::npos) return false;
  char *left_end = nullptr, *right_end = nullptr;
  const double a = std::strtod(left.c_str(), &left_end), b = std::strtod(right.c_str(), &right_end);
  return !left.empty() && !right.empty() && *left_end == '\0' && *right_end == '\0' && a == b;
}

Values texts_of(const base::StateDict& state) {
  Values texts;
  for (const auto& [name, value] : state.values) {
    if (const auto* text = std::get_if<std::string>(&value)) texts[name] = *text;
  }
  if (const auto bias = texts.find("adapter.position_bias"); bias != texts.end()) {
    bias->second = models::position_bias_name(bias->second, texts["adapter.estimator"]);
  }
  return texts;
}

std::string change_text(const std::string& name, const std::string& saved, const std::string& now) {
  const auto meaning = content_names().find(name);
  return concat(name, meaning == content_names().end() ? "" : concat(" (", meaning->second, ")"),
                ": the checkpoint has '", saved, "', this run has '", now, "'");
}

}  // namespace

const std::map<std::string, std::string>& content_names() {
  static const std::map<std::string, std::string> names = {
      {kRun, "the checkpoint is of another run"},
      {"data", "training data, by content"},
      {"held_out_data", "evaluation data, by content"},
      {"model", "weights and configuration of the base model, by content"},
      {"teacher", "weights and configuration of the teacher, by content"},
      {"tokenizer", "tokenizer files in the model's folder, by content"},
      {"vocabulary", "size of the vocabulary of data and model"},
      {kGlobalBatch, "sequences of a step"}};
  return names;
}

std::vector<std::string> acceptable_names() {
  std::set<std::string> names;
  for (const auto& entry : values_of({}, {Role::recipe, Role::place, Role::free})) {
    names.insert(entry.first);
    for (size_t dot = entry.first.find('.'); dot != std::string::npos; dot = entry.first.find('.', dot + 1)) {
      names.insert(entry.first.substr(0, dot));
    }
  }
  for (const auto& entry : content_names()) names.insert(entry.first);
  for (const auto& entry : groups()) names.insert(entry.first);
  return {names.begin(), names.end()};
}

namespace {

constexpr const char* kStages = "stages.";

// What is behind "stages.NAME."; empty for another key.
std::string key_of_stage(const std::string& name) {
  if (!name.starts_with(kStages)) return "";
  const size_t dot = name.find('.', std::string_view(kStages).size());
  return dot == std::string::npos ? "" : name.substr(dot + 1);
}

}  // namespace

bool is_acceptable(const std::string& name) {
  const std::vector<std::string> names = acceptable_names();
  const std::string key = key_of_stage(name);
  const bool is_stage = name == "stages" || (key.empty() && name.starts_with(kStages));
  return is_stage || std::find(names.begin(), names.end(), key.empty() ? name : key) != names.end();
}

bool covers(const std::set<std::string>& accepted, const std::string& name) {
  if (const std::string key = key_of_stage(name); !key.empty() && covers(accepted, key)) return true;
  if (accepted.contains(name)) return true;
  for (size_t dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const std::string section = name.substr(0, dot);
    if (section != kRun && accepted.contains(section)) return true;
  }
  return std::any_of(groups().begin(), groups().end(),
                     [&](const auto& group) { return accepted.contains(group.first) && group.second.contains(name); });
}

RunIdentity::RunIdentity(IdentityFields fields, std::set<std::string> accepted, std::string advice, bool can_accept)
    : fields_(std::move(fields)), accepted_(std::move(accepted)), advice_(std::move(advice)), can_accept_(can_accept) {}

std::string RunIdentity::unrecorded_text() const {
  std::string names;
  for (const std::string& name : unrecorded_) names += (names.empty() ? "" : ", ") + name;
  return concat("an earlier version of the program wrote the checkpoint; it does not record, so that nobody compares, ",
                names);
}

bool RunIdentity::accepts_other_tensors() const {
  static const char* const kDecideTensors[] = {"adapter.layers",
                                               "adapter.bias",
                                               "adapter.no_match_embedding",
                                               "train.trainable",
                                               "train.trainable_base",
                                               "lora.rank",
                                               "lora.patterns",
                                               "stages",
                                               "lora.patterns",
                                               "optimizer.groups",
                                               "optimizer.rate_patterns",
                                               "optimizer.rate_factors",
                                               "model",
                                               "model.from_scratch",
                                               "model.architecture.num_hidden_layers",
                                               "model.architecture.tie_word_embeddings"};
  return std::any_of(std::begin(kDecideTensors), std::end(kDecideTensors),
                     [this](const char* key) { return accepts(key); });
}

base::StateDict RunIdentity::save_state() const {
  base::StateDict state;
  for (const auto& [name, value] : fields_.values) state.values[name] = value;
  return state;
}

void RunIdentity::load_state(const base::StateDict& state) {
  Values saved = texts_of(state), now = fields_.values;
  if (saved.contains("seed")) {  // of the first versions
    saved = from_earlier_form(std::move(saved));
    for (const auto& [name, value] : fields_.earlier_form) now[name] = value;
  }
  saved.insert(known_.begin(), known_.end());
  // A run from before there were stages had none.
  if (now.contains(kStageNames)) saved.emplace(kStageNames, "none");
  std::set<std::string> changed;
  unrecorded_.clear();
  for (const auto& [name, value] : now) {
    const auto found = saved.find(name);
    if (found == saved.end()) {
      if (!content_names().contains(name)) unrecorded_.push_back(name);
    } else if (!are_equal(found->second, value)) {
      changed.insert(name);
    }
  }
  std::string refused, names;
  accepted_changes_.clear();
  for (const std::string& name : changed) {
    std::set<std::string> reasons;  // the changed keys that this change follows from
    if (const auto found = causes().find(name); found != causes().end()) {
      std::set_intersection(found->second.begin(), found->second.end(), changed.begin(), changed.end(),
                            std::inserter(reasons, reasons.end()));
    }
    const std::string change = change_text(name, saved.at(name), now.at(name));
    if (accepts(name) || std::any_of(reasons.begin(), reasons.end(), [&](const auto& key) { return accepts(key); })) {
      accepted_changes_.push_back(change);
      continue;
    }
    refused += concat(refused.empty() ? "" : "; ", change);
    if (reasons.empty()) names += (names.empty() ? "" : ",") + name;
  }
  const std::string flag = can_accept_ ? concat("To go on all the same, add --accept-changed ", names, "; ") : "";
  require<base::CheckpointError>(refused.empty(), "something changed since the checkpoint was written: ", refused, ". ",
                                 flag, advice_);
}

Values changed_identity(const base::StateDict& before, const base::StateDict& after,
                        const std::set<std::string>& accepted) {
  const Values first = texts_of(before), second = texts_of(after);
  Values changed;
  for (const auto& [name, value] : second) {
    const auto found = first.find(name);
    if (found == first.end() || are_equal(found->second, value) || covers(accepted, name)) continue;
    changed[name] = concat(name, " is '", value, "', before it was '", found->second, "'");
  }
  return changed;
}

Values recipe_values(RunConfig config) { return values_of(std::move(config), {Role::recipe}); }

Values model_contents(const fs::path& folder) {
  return {{"model", model_text(folder)},
          {"tokenizer", files_text(folder, {std::begin(kTokenizerFiles), std::end(kTokenizerFiles)})}};
}

IdentityFields identity_fields(const RunConfig& config, bool from_scratch, const models::CausalModel& model,
                               const DataSource& training_data, const DataSource& held_out_data) {
  IdentityFields fields;
  fields.values = recipe_values(config);
  fields.values.merge(from_scratch ? Values{{"model", kFromScratch}, {"tokenizer", "none"}}
                                   : model_contents(config.model.folder));
  const std::string& teacher = config.teacher.folder;
  fields.values["teacher"] = teacher.empty() ? "the base model" : model_contents(teacher).at("model");
  fields.values["vocabulary"] = concat(training_data.vocabulary_size(), " of ", model.config().vocab_size);
  fields.earlier_form[kGlobalBatch] = std::to_string(config.train.micro_batches * config.train.micro_batch_sequences);
  for (const auto& [name, source] : {std::pair{"data", &training_data}, std::pair{"held_out_data", &held_out_data}}) {
    if (source->content().empty()) continue;
    fields.values[name] = source->content();
    fields.earlier_form[name] = source->fingerprint();
  }
  return fields;
}

}  // namespace rosa::training
