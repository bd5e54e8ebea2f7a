// RunIdentity: what must be equal for a resumed run to be the same run: every key of the configuration that belongs to
// the recipe (base::Role), by its full name, and data, model and tokenizer, by content. Saved with every checkpoint and
// compared when one is loaded.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/stateful.h"
#include "models/causal_model.h"
#include "training/config.h"
#include "training/data/data_source.h"

namespace rosa::training {

// What is compared by content, by name, with what it means.
const std::map<std::string, std::string>& content_names();

// Everything that may be accepted: keys, sections, contents, and groups of keys (num_steps, global_batch ...).
std::vector<std::string> acceptable_names();

// Whether a name is one of these, "stages", a stage ("stages.align"), or a key of one ("stages.align.loss.beta").
bool is_acceptable(const std::string& name);

// Whether one of the names `accepted` stands for `name`: itself, a section that it is in, or a group.
bool covers(const std::set<std::string>& accepted, const std::string& name);

struct IdentityFields {
  std::map<std::string, std::string> values;  // by full key or name of a content
  // Of those, in the form in which the first versions of the program saved them: with settings in them.
  std::map<std::string, std::string> earlier_form;
};

class RunIdentity : public base::Stateful {
 public:
  // `accepted`: names whose change is no error. `advice`: what else can be done about one, in the error; with
  // `can_accept` false it is all that can be done, and the flag is not named.
  RunIdentity(IdentityFields fields, std::set<std::string> accepted,
              std::string advice = "else use a new run.folder, with train.init_from for a warm start",
              bool can_accept = true);

  const std::map<std::string, std::string>& values() const { return fields_.values; }
  bool accepts(const std::string& name) const { return covers(accepted_, name); }
  // What load_state found changed and accepted, one line each.
  const std::vector<std::string>& accepted_changes() const { return accepted_changes_; }
  // The keys that the loaded state did not record, since an earlier version of the program wrote it: not compared.
  const std::vector<std::string>& unrecorded() const { return unrecorded_; }
  // The same for the log.
  std::string unrecorded_text() const;

  // Values of keys, by what else is known of the checkpoint: they count where its state does not record the key.
  void set_known(std::map<std::string, std::string> known) { known_ = std::move(known); }

  // Whether a change is accepted by which a run has other tensors than the checkpoint.
  bool accepts_other_tensors() const;

  base::StateDict save_state() const override;
  // Compares. Throws CheckpointError that names everything that changed, and the flag.
  void load_state(const base::StateDict& state) override;

 private:
  IdentityFields fields_;
  std::set<std::string> accepted_;
  std::string advice_;
  bool can_accept_;
  std::map<std::string, std::string> known_;
  std::vector<std::string> accepted_changes_;
  std::vector<std::string> unrecorded_;
};

// The names in which two saved identities differ and that `accepted` does not cover, each with a sentence that tells
// how. What only one of them records is not compared.
std::map<std::string, std::string> changed_identity(const base::StateDict& before, const base::StateDict& after,
                                                    const std::set<std::string>& accepted);

// Reads the recipe that a checkpoint's config.yaml tells, by key; empty where it can't be read. The reader of YAML is
// launch/.
using RecipeReader = std::function<std::map<std::string, std::string>(const std::filesystem::path& config_file)>;

// Every key of the recipe with its value.
std::map<std::string, std::string> recipe_values(RunConfig config);

// The contents of a model's folder: weights and configuration, and tokenizer. Reads all files. Throws FileError.
std::map<std::string, std::string> model_contents(const std::filesystem::path& folder);

// The key says nothing of a run that trains adapters alone, which are decayed whole in either way. Whoever trains such
// a run takes it out of the fields: runs from before the key are not to be refused for it.
inline constexpr const char* kDecayOfBase = "optimizer.weight_decay_on";

// The fields of a run. Data that the run does not use has no field. Reads the files of the model's folder. Throws
// FileError.
IdentityFields identity_fields(const RunConfig& config, bool from_scratch, const models::CausalModel& model,
                               const DataSource& training_data, const DataSource& held_out_data);

}  // namespace rosa::training
