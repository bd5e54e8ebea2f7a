#include "training/data/data_config.h"

#include "base/error.h"

namespace rosa::training {
namespace {

using base::ConfigError;
using base::require;
using base::Role;

bool has_phrases(const DataConfig& config) {
  return config.kind == DataKind::phrases || config.kind == DataKind::lines;
}

void require_length(const char* key, size_t length, size_t expected) {
  require<ConfigError>(length == 0 || length == expected, "data.", key, " has ", length,
                       " entries, expected none or as many as data.curriculum_until: ", expected);
}

void check_curriculum(const DataConfig& config) {
  const size_t num_stages = config.curriculum_until.size();
  require_length("curriculum_sequence_lengths", config.curriculum_sequence_lengths.size(), num_stages);
  require_length("curriculum_pool_sizes", config.curriculum_pool_sizes.size(), num_stages);
  require_length("curriculum_unrecallable_weights", config.curriculum_unrecallable_weights.size(), num_stages);
  int64_t previous = 0;
  for (int64_t until : config.curriculum_until) {
    require<ConfigError>(until > previous, "data.curriculum_until: got ", until, " after ", previous,
                         ", expected ascending steps above 0");
    previous = until;
  }
}

void check_phrases(const DataConfig& config) {
  require<ConfigError>(config.min_phrase_length <= config.max_phrase_length, "data.min_phrase_length is ",
                       config.min_phrase_length, ", expected at most data.max_phrase_length, ",
                       config.max_phrase_length);
  for (const DataStage& stage : stages(config)) {
    require<ConfigError>(stage.pool_size >= 2, "data.pool_size (or a stage of data.curriculum_pool_sizes) is ",
                         stage.pool_size, ", expected at least 2");
  }
}

}  // namespace

void describe(base::FieldVisitor& visitor, DataConfig& config) {
  visitor.choice(
      "kind", config.kind, Role::recipe,
      {{"phrases", DataKind::phrases},
       {"lines", DataKind::lines},
       {"crops", DataKind::crops},
       {"token_file", DataKind::token_file}},
      "phrases: random phrases repeated in random order; lines: the same with crops of a text; crops: random "
      "crops of a text, as bytes; token_file: a file made by `rosa data pack`");
  visitor.field("train_path", config.train_path, Role::place,
                "text or token file to train on (kind phrases needs none)");
  visitor.field("held_out_path", config.held_out_path, Role::place, "text or token file to evaluate on");
  visitor.field("sequence_length", config.sequence_length, Role::recipe, "tokens of a sequence", {2});
  visitor.field("vocabulary_size", config.vocabulary_size, Role::recipe,
                "token ids are below it; 0: 65 for phrases, 128 for texts, a token file's own", {0});
  visitor.field("pool_size", config.pool_size, Role::recipe,
                "phrases, lines: phrases of a sequence; 0: 4 for phrases, 6 for lines", {0, 4096});
  visitor.field("min_phrase_length", config.min_phrase_length, Role::recipe,
                "phrases, lines: least tokens of a phrase without its separator; 0: 8 for phrases, 10 for lines", {0});
  visitor.field("max_phrase_length", config.max_phrase_length, Role::recipe,
                "phrases, lines: most tokens of a phrase; 0: 16 for phrases, 24 for lines", {0});
  visitor.field("num_excluded_phrases", config.num_excluded_phrases, Role::recipe,
                "phrases, lines: this many latest phrases are not drawn again at once", {0});
  visitor.field("alphabet_size", config.alphabet_size, Role::recipe, "phrases: number of symbols beside the separator",
                {2, 1 << 20});
  visitor.field("unrecallable_weight", config.unrecallable_weight, Role::recipe,
                "phrases, lines: loss weight of tokens that no earlier copy determines (training only)", {0.0, 1.0});
  visitor.field("curriculum_until", config.curriculum_until, Role::recipe,
                "stage i of the curriculum lasts until before this step; afterwards the values above hold", {1});
  visitor.field("curriculum_sequence_lengths", config.curriculum_sequence_lengths, Role::recipe,
                "sequence_length of each stage", {2});
  visitor.field("curriculum_pool_sizes", config.curriculum_pool_sizes, Role::recipe, "pool_size of each stage",
                {2, 4096});
  visitor.field("curriculum_unrecallable_weights", config.curriculum_unrecallable_weights, Role::recipe,
                "unrecallable_weight of each stage", {0.0, 1.0});
  visitor.field(
      "packed_documents", config.packed_documents, Role::recipe,
      "token_file: true: a sequence runs on into the next document; false: it ends with its document, padded");
  visitor.field("verify_tokens", config.verify_tokens, Role::place,
                "token_file: compare the checksum of all tokens at start (reads the whole file)");
}

DataConfig resolve(DataConfig config) {
  auto set_default = [&config](int64_t& value, int64_t for_phrases, int64_t for_lines) {
    if (value == 0) value = config.kind == DataKind::phrases ? for_phrases : for_lines;
  };
  set_default(config.pool_size, 4, 6);
  set_default(config.min_phrase_length, 8, 10);
  set_default(config.max_phrase_length, 16, 24);
  if (config.kind != DataKind::token_file) set_default(config.vocabulary_size, config.alphabet_size + 1, 128);

  require<ConfigError>(config.sequence_length >= 2, "data.sequence_length is ", config.sequence_length,
                       ", expected at least 2");
  check_curriculum(config);
  if (has_phrases(config)) check_phrases(config);
  require<ConfigError>(
      has_phrases(config) || (config.unrecallable_weight == 1.0 && config.curriculum_unrecallable_weights.empty()),
      "data.unrecallable_weight needs kind phrases or lines: other data has no recallable tokens");
  require<ConfigError>(has_phrases(config) || config.curriculum_pool_sizes.empty(),
                       "data.curriculum_pool_sizes needs kind phrases or lines");
  if (config.kind == DataKind::phrases) {
    require<ConfigError>(config.vocabulary_size > config.alphabet_size, "data.vocabulary_size is ",
                         config.vocabulary_size, ", expected more than data.alphabet_size, ", config.alphabet_size);
  }
  return config;
}

std::vector<DataStage> stages(const DataConfig& config) {
  std::vector<DataStage> result;
  int64_t first_step = 0;
  for (size_t i = 0; i < config.curriculum_until.size(); ++i) {
    auto pick = [i](const auto& list, auto value) { return list.empty() ? value : list[i]; };
    result.push_back({.index = static_cast<int64_t>(i),
                      .first_step = first_step,
                      .sequence_length = pick(config.curriculum_sequence_lengths, config.sequence_length),
                      .pool_size = pick(config.curriculum_pool_sizes, config.pool_size),
                      .unrecallable_weight = pick(config.curriculum_unrecallable_weights, config.unrecallable_weight)});
    first_step = config.curriculum_until[i];
  }
  result.push_back({.index = static_cast<int64_t>(result.size()),
                    .first_step = first_step,
                    .sequence_length = config.sequence_length,
                    .pool_size = config.pool_size,
                    .unrecallable_weight = config.unrecallable_weight});
  return result;
}

}  // namespace rosa::training
