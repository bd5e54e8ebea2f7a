// What configuration, model, data and ranks have to agree on, found together before the first step; and what can be
// trained but is hardly meant. The rules that need none of them are in config.h.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "models/model_config.h"
#include "training/config.h"
#include "training/data/data_source.h"
#include "training/stages.h"

namespace rosa::training {

// distill: frozen base, adapters are trained against the teacher. pretrain: the base itself, global attention.
enum class Objective { distill, pretrain };

// What one of the two needs beyond check(RunConfig).
void check_objective(base::ConfigProblems& problems, const RunConfig& config, Objective objective);

// The sizes of the model that a run works on: those of model.folder or, from scratch, model.architecture. Throws
// ConfigError where neither is named, FileError and DataError.
models::ModelConfig model_config_of(const RunConfig& config, Objective objective);

// The sizes of the model in teacher.folder; none where the base is the teacher. Throws FileError and DataError.
std::optional<models::ModelConfig> teacher_config_of(const RunConfig& config);

// Whether the student can learn from that teacher: token by token, so both have one vocabulary, and one tokenizer where
// both have one. Throws FileError or DataError where a tokenizer can't be read.
void check_teacher(base::ConfigProblems& problems, const RunConfig& config, const models::ModelConfig& model,
                   const models::ModelConfig& teacher);

// The names of all parameters that could be trained. The adapters fit the model.
std::vector<std::string> trainable_names(const RunConfig& config, Objective objective,
                                         const models::ModelConfig& model);

// Adapters and patterns against the model's sizes, and micro-batches against the ranks: all without a weight.
void check_sizes_with_model(base::ConfigProblems& problems, const RunConfig& config, Objective objective,
                            const models::ModelConfig& model, int world_size);
// The same, and weights against the memory of this host.
void check_with_model(base::ConfigProblems& problems, const RunConfig& config, Objective objective,
                      const models::ModelConfig& model, int world_size);
void check_with_data(base::ConfigProblems& problems, const DataConfig& config, const DataSource& data, const char* key,
                     const models::ModelConfig& model);

// Throws NumericError, naming tensors and places, where a weight of `parameters` is not finite. `where` is the file or
// folder that they come from.
void require_finite(const std::map<std::string, at::Tensor>& parameters, const std::string& where);

// What is legal and hardly meant, a sentence each: a window that covers every sequence, sequences beyond the model's
// positions, bytes for a model of words, the same text for training and evaluation ... `training_data` is the run's.
std::vector<std::string> run_warnings(const RunConfig& config, Objective objective, const models::ModelConfig& model,
                                      const DataSource& training_data);

// All of the above, before anything is built: opens config.json and the data (without the checksum of its tokens), no
// weights. Returns the warnings. Throws one ConfigError with everything that is wrong; where it is only that a file
// can't be used, its FileError or DataError, with the key that names the file. `origin` tells where keys were read.
std::vector<std::string> check_before_training(const RunConfig& config, Objective objective, int world_size,
                                               const base::ConfigOrigin& origin = {});

// The same of every stage of a run; errors and warnings name the stage.
std::vector<std::string> check_stages(const Stages& stages, Objective objective, int world_size);

}  // namespace rosa::training
