// RunIdentity: what must be equal for a resumed run to be the same run, by name and content: data, model, tokenizer,
// vocabulary, schedules and what else decides the bits. Saved with every checkpoint and compared when one is loaded.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/stateful.h"
#include "models/qwen3.h"
#include "training/config.h"
#include "training/data/data_source.h"

namespace rosa::training {

// The names that --accept-changed knows, with what they mean.
const std::map<std::string, std::string>& identity_names();

// Splits and checks "data,model". Throws ConfigError for a name that does not exist.
std::set<std::string> parse_accepted(const std::string& list);

class RunIdentity : public base::Stateful {
 public:
  // `fields`: one for each name of identity_names() but "run". `accepted`: names whose change is no error.
  RunIdentity(std::map<std::string, std::string> fields, std::set<std::string> accepted);

  const std::map<std::string, std::string>& fields() const { return fields_; }
  bool accepts(const std::string& name) const { return accepted_.contains(name); }
  // What load_state found changed and accepted, one line each.
  const std::vector<std::string>& accepted_changes() const { return accepted_changes_; }

  base::StateDict save_state() const override;
  // Compares. Throws CheckpointError that names everything that changed, and the flag.
  void load_state(const base::StateDict& state) override;

 private:
  std::map<std::string, std::string> fields_;
  std::set<std::string> accepted_;
  std::vector<std::string> accepted_changes_;
};

// The fields of a run. Reads the files of the model's folder for their checksums. Throws FileError.
std::map<std::string, std::string> identity_fields(const RunConfig& config, bool from_scratch,
                                                   const models::Qwen3& model, const DataSource& training_data,
                                                   const DataSource& held_out_data);

}  // namespace rosa::training
