// DataConfig: where training and held-out sequences come from. Checks what can be checked without opening a file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"

namespace rosa::training {

enum class DataKind {
  phrases,     // random phrases, repeated in random order
  lines,       // the same with word-aligned crops of a text
  crops,       // random crops of a text, as bytes
  token_file,  // a file that `rosa data pack` made
};

// One of several token files to train on.
struct DataSourceEntry {
  std::string path = {};
  double weight = 1.0;             // its share of the samples, in the unit of the others
  std::string name = {};           // in metrics; resolved: the file's name without its ending
  std::string held_out_path = {};  // of this source: what suites score apart; empty: nothing
};

void describe(base::FieldVisitor& visitor, DataSourceEntry& entry);

struct DataConfig {
  DataKind kind = DataKind::lines;
  std::string train_path = {};
  std::vector<DataSourceEntry> sources = {};  // in the place of train_path
  std::string held_out_path = {};
  int64_t sequence_length = 256;
  int64_t vocabulary_size = 0;

  int64_t pool_size = 0;
  int64_t min_phrase_length = 0;
  int64_t max_phrase_length = 0;
  int64_t num_excluded_phrases = 2;
  int64_t alphabet_size = 64;
  double unrecallable_weight = 1.0;

  std::vector<int64_t> curriculum_until = {};
  std::vector<int64_t> curriculum_sequence_lengths = {};
  std::vector<int64_t> curriculum_pool_sizes = {};
  std::vector<double> curriculum_unrecallable_weights = {};

  double repeat_share = 0.0;  // see RepeatedSource
  int64_t repeat_min_tokens = 16, repeat_max_tokens = 64;

  bool packed_documents = true;
  bool verify_tokens = true;
  bool accept_other_tokenizer = false;
};

void describe(base::FieldVisitor& visitor, DataConfig& config);

// What changes over a curriculum.
struct DataStage {
  int64_t index = 0;
  int64_t first_step = 0;
  int64_t sequence_length = 0;
  int64_t pool_size = 0;
  double unrecallable_weight = 1.0;
};

// The rules between the keys, with defaults in the place of every 0.
void check(base::ConfigProblems& problems, const DataConfig& config);

// The config with every 0 that stands for a default of its kind replaced. Throws ConfigError, naming the key, where
// values do not fit each other.
DataConfig resolve(DataConfig config);

// The stages of a resolved config, by first step; the last one lasts for ever and has the config's own values.
std::vector<DataStage> stages(const DataConfig& config);

}  // namespace rosa::training
