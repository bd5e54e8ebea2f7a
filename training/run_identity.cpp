#include "training/run_identity.h"

#include <algorithm>
#include <filesystem>
#include <sstream>

#include "base/checksum.h"
#include "base/error.h"

namespace rosa::training {
namespace {

namespace fs = std::filesystem;
using base::concat;
using base::require;

// A described struct as "a=1 b.c=2".
class FieldText : public base::FieldVisitor {
 public:
  void field(std::string_view name, bool& value, base::Role, std::string_view) override {
    add(name, value ? "true" : "false");
  }
  void field(std::string_view name, int64_t& value, base::Role, std::string_view, base::Range<int64_t>) override {
    add(name, std::to_string(value));
  }
  void field(std::string_view name, double& value, base::Role, std::string_view, base::Range<double>) override {
    add(name, value);
  }
  void field(std::string_view name, std::string& value, base::Role, std::string_view,
             const std::vector<std::string>&) override {
    add(name, value);
  }
  void field(std::string_view name, std::vector<int64_t>& value, base::Role, std::string_view,
             base::Range<int64_t>) override {
    add_list(name, value);
  }
  void field(std::string_view name, std::vector<double>& value, base::Role, std::string_view,
             base::Range<double>) override {
    add_list(name, value);
  }
  void field(std::string_view name, std::vector<std::string>& value, base::Role, std::string_view) override {
    add_list(name, value);
  }
  void begin_section(std::string_view name, std::string_view) override { prefix_ += concat(name, "."); }
  void end_section() override { prefix_.erase(prefix_.rfind('.', prefix_.size() - 2) + 1); }

  std::string text() const { return text_.str(); }

 private:
  template <class Value>
  void add(std::string_view name, const Value& value) {
    std::ostringstream exact;
    exact.precision(17);
    exact << value;
    text_ << (text_.str().empty() ? "" : " ") << prefix_ << name << '=' << exact.str();
  }
  template <class Value>
  void add_list(std::string_view name, const std::vector<Value>& values) {
    for (const Value& value : values) add(name, value);
  }

  std::string prefix_;
  std::ostringstream text_;
};

template <class Config>
std::string text_of(Config config) {
  FieldText text;
  describe(text, config);
  return text.text();
}

constexpr const char* kTokenizerFiles[] = {"added_tokens.json", "merges.txt",      "special_tokens_map.json",
                                           "tokenizer.json",    "tokenizer.model", "tokenizer_config.json",
                                           "vocab.json"};

// "NAME=CHECKSUM ..." of those files that there are.
std::string files_text(const fs::path& folder, const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) {
    if (!fs::is_regular_file(folder / name)) continue;
    text += concat(text.empty() ? "" : " ", name, "=", base::to_hex(base::file_checksum(folder / name)));
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

}  // namespace

const std::map<std::string, std::string>& identity_names() {
  static const std::map<std::string, std::string> names = {
      {"run", "the checkpoint is of another run"},
      {"data", "training data, by content, and its settings"},
      {"held_out_data", "evaluation data"},
      {"model", "weights and configuration of the base model, by content"},
      {"tokenizer", "tokenizer files in the model's folder, by content"},
      {"vocabulary", "size of the vocabulary of data and model"},
      {"num_steps", "length of the run, which the schedules depend on"},
      {"schedules", "learning rate, alpha and temperatures"},
      {"global_batch", "sequences of a step, which the position in the data depends on"},
      {"seed", "random numbers and order of the data"},
      {"compute_threads", "compute.threads: results depend on it in the last bit"}};
  return names;
}

std::set<std::string> parse_accepted(const std::string& list) {
  std::set<std::string> accepted;
  std::istringstream parts(list);
  for (std::string name; std::getline(parts, name, ',');) {
    std::string known;
    for (const auto& entry : identity_names()) known += (known.empty() ? "" : ", ") + entry.first;
    require<base::ConfigError>(identity_names().contains(name), "--accept-changed: there is no '", name,
                               "'; what can be accepted is ", known);
    accepted.insert(name);
  }
  return accepted;
}

RunIdentity::RunIdentity(std::map<std::string, std::string> fields, std::set<std::string> accepted)
    : fields_(std::move(fields)), accepted_(std::move(accepted)) {
  for (const auto& entry : fields_) {
    require(identity_names().contains(entry.first), "RunIdentity: '", entry.first, "' is not in identity_names()");
  }
}

base::StateDict RunIdentity::save_state() const {
  base::StateDict state;
  for (const auto& [name, value] : fields_) state.values[name] = value;
  return state;
}

void RunIdentity::load_state(const base::StateDict& state) {
  std::string refused, names;
  accepted_changes_.clear();
  for (const auto& [name, value] : fields_) {
    const auto found = state.values.find(name);
    const auto* saved = found == state.values.end() ? nullptr : std::get_if<std::string>(&found->second);
    if (saved != nullptr && *saved == value) continue;
    const std::string change = concat(name, " (", identity_names().at(name), "): the checkpoint has '",
                                      saved == nullptr ? "nothing" : *saved, "', this run has '", value, "'");
    if (accepts(name)) {
      accepted_changes_.push_back(change);
    } else {
      refused += concat("\n  ", change);
      names += (names.empty() ? "" : ",") + name;
    }
  }
  require<base::CheckpointError>(names.empty(), "something changed since the checkpoint was written:", refused,
                                 "\nTo go on all the same, add --accept-changed ", names,
                                 "; else use a new run.folder, with train.init_from for a warm start");
}

std::map<std::string, std::string> identity_fields(const RunConfig& config, bool from_scratch,
                                                   const models::Qwen3& model, const DataSource& training_data,
                                                   const DataSource& held_out_data) {
  return {{"data", training_data.fingerprint()},
          {"held_out_data", held_out_data.fingerprint()},
          {"model", from_scratch ? "from scratch: " + text_of(config.model.architecture)
                                 : model_text(config.model.folder) + " as " + config.model.compute_dtype},
          {"tokenizer",
           from_scratch ? "none"
                        : files_text(config.model.folder, {std::begin(kTokenizerFiles), std::end(kTokenizerFiles)})},
          {"vocabulary", concat(training_data.vocabulary_size(), " of ", model.config().vocab_size)},
          {"num_steps", std::to_string(config.train.num_steps)},
          {"schedules", text_of(config.schedules)},
          {"global_batch", std::to_string(config.train.micro_batches * config.train.micro_batch_sequences)},
          {"seed", std::to_string(config.run.seed)},
          {"compute_threads", std::to_string(config.compute.threads)}};
}

}  // namespace rosa::training
