#include "training/data/data_config.h"

#include <cmath>
#include <filesystem>
#include <set>
#include <utility>

#include "training/data/mixture_order.h"

namespace rosa::training {
using base::Role;

namespace {

constexpr int64_t kMaxLength = int64_t{1} << 20;  // tokens of a sequence or a phrase
constexpr int64_t kMaxVocabulary = (int64_t{1} << 31) - 1;

bool has_phrases(const DataConfig& config) {
  return config.kind == DataKind::phrases || config.kind == DataKind::lines;
}

DataConfig with_defaults(DataConfig config) {
  const auto set_default = [&config](int64_t& value, int64_t for_phrases, int64_t for_lines) {
    if (value == 0) value = config.kind == DataKind::phrases ? for_phrases : for_lines;
  };
  set_default(config.pool_size, 4, 6);
  set_default(config.min_phrase_length, 8, 10);
  set_default(config.max_phrase_length, 16, 24);
  for (DataSourceEntry& entry : config.sources) {
    if (entry.name.empty()) entry.name = std::filesystem::path(entry.path).stem().string();
  }
  if (config.kind != DataKind::token_file) set_default(config.vocabulary_size, config.alphabet_size + 1, 128);
  return config;
}

void check_curriculum(base::ConfigProblems& problems, const DataConfig& config) {
  const size_t num_stages = config.curriculum_until.size();
  const auto require_length = [&](const char* key, size_t length) {
    problems.require(length == 0 || length == num_stages, {key, "curriculum_until"}, problems.full_key(key), " has ",
                     length, " entries, expected none or as many as ", problems.full_key("curriculum_until"), ": ",
                     num_stages);
  };
  require_length("curriculum_sequence_lengths", config.curriculum_sequence_lengths.size());
  require_length("curriculum_pool_sizes", config.curriculum_pool_sizes.size());
  require_length("curriculum_unrecallable_weights", config.curriculum_unrecallable_weights.size());
  int64_t previous = 0;
  for (const int64_t until : config.curriculum_until) {
    problems.require(until > previous, {"curriculum_until"}, "got ", until, " after ", previous,
                     ", expected ascending steps above 0");
    previous = until;
  }
}

// How many phrases there are of so many symbols and these lengths, at most `enough`.
int64_t num_distinct_phrases(const DataConfig& config, int64_t enough) {
  double total = 0;
  for (int64_t length = config.min_phrase_length; length <= config.max_phrase_length; ++length) {
    total += std::pow(static_cast<double>(config.alphabet_size), static_cast<double>(length));
    if (total >= static_cast<double>(enough)) return enough;
  }
  return static_cast<int64_t>(total);
}

void check_phrases(base::ConfigProblems& problems, const DataConfig& config) {
  problems.require(config.min_phrase_length <= config.max_phrase_length, {"min_phrase_length", "max_phrase_length"},
                   "is ", config.min_phrase_length, ", expected at most ", problems.full_key("max_phrase_length"), ", ",
                   config.max_phrase_length);
  std::vector<int64_t> sizes = config.curriculum_pool_sizes;
  sizes.push_back(config.pool_size);
  for (size_t i = 0; i < sizes.size(); ++i) {
    const char* key = i + 1 < sizes.size() ? "curriculum_pool_sizes" : "pool_size";
    problems.require(sizes[i] >= 2, {key}, "is ", sizes[i], ", expected at least 2");
    if (config.kind != DataKind::phrases || config.min_phrase_length > config.max_phrase_length) continue;
    const int64_t possible = num_distinct_phrases(config, sizes[i]);
    problems.require(possible >= sizes[i], {key, "alphabet_size", "min_phrase_length", "max_phrase_length"}, "is ",
                     sizes[i], ", but there are only ", possible, " phrases of ", config.min_phrase_length, " to ",
                     config.max_phrase_length, " of ", config.alphabet_size, " symbols");
  }
}

}  // namespace

void describe(base::FieldVisitor& visitor, DataSourceEntry& entry) {
  visitor.path("path", entry.path, Role::place, "token file");
  visitor.field("weight", entry.weight, Role::recipe, "its share of the samples, in the unit of the other weights",
                {0.0, 1e12});
  visitor.field("name", entry.name, Role::free, "its name in metrics; without one the file's, without its ending");
  visitor.path("held_out_path", entry.held_out_path, Role::place,
               "token file of its held-out text, which the task language of suites scores apart; empty: none");
}

void describe(base::FieldVisitor& visitor, DataConfig& config) {
  visitor.choice(
      "kind", config.kind, Role::recipe,
      {{"phrases", DataKind::phrases},
       {"lines", DataKind::lines},
       {"crops", DataKind::crops},
       {"token_file", DataKind::token_file}},
      "phrases: random phrases repeated in random order; lines: the same with crops of a text; crops: random "
      "crops of a text, as bytes; token_file: a file made by `rosa data pack`");
  visitor.path("train_path", config.train_path, Role::place,
               "text or token file to train on (kind phrases needs none)");
  visitor.list("sources", config.sources, Role::recipe,
               "token_file: several files to train on, instead of train_path, each with its share of the samples: "
               "[{path: FILE, weight: 1, name: NAME}, ...]");
  visitor.path("held_out_path", config.held_out_path, Role::place, "text or token file to evaluate on");
  visitor.field("sequence_length", config.sequence_length, Role::recipe, "tokens of a sequence", {2, kMaxLength});
  visitor.field("vocabulary_size", config.vocabulary_size, Role::recipe,
                "token ids are below it; 0: 65 for phrases, 128 for texts, a token file's own", {0, kMaxVocabulary});
  visitor.field("pool_size", config.pool_size, Role::recipe,
                "phrases, lines: phrases of a sequence; 0: 4 for phrases, 6 for lines", {0, 4096});
  visitor.field("min_phrase_length", config.min_phrase_length, Role::recipe,
                "phrases, lines: least tokens of a phrase without its separator; 0: 8 for phrases, 10 for lines",
                {0, kMaxLength});
  visitor.field("max_phrase_length", config.max_phrase_length, Role::recipe,
                "phrases, lines: most tokens of a phrase; 0: 16 for phrases, 24 for lines", {0, kMaxLength});
  visitor.field("num_excluded_phrases", config.num_excluded_phrases, Role::recipe,
                "phrases, lines: this many latest phrases are not drawn again at once", {0, 4096});
  visitor.field("alphabet_size", config.alphabet_size, Role::recipe, "phrases: number of symbols beside the separator",
                {2, 1 << 20});
  visitor.field("unrecallable_weight", config.unrecallable_weight, Role::recipe,
                "phrases, lines: loss weight of tokens that no earlier copy determines (training only)", {0.0, 1.0});
  visitor.field("curriculum_until", config.curriculum_until, Role::recipe,
                "stage i of the curriculum lasts until before this step; afterwards the values above hold",
                {1, base::kMaxSteps});
  visitor.field("curriculum_sequence_lengths", config.curriculum_sequence_lengths, Role::recipe,
                "sequence_length of each stage", {2, kMaxLength});
  visitor.field("curriculum_pool_sizes", config.curriculum_pool_sizes, Role::recipe, "pool_size of each stage",
                {2, 4096});
  visitor.field("curriculum_unrecallable_weights", config.curriculum_unrecallable_weights, Role::recipe,
                "unrecallable_weight of each stage", {0.0, 1.0});
  visitor.field("repeat_share", config.repeat_share, Role::recipe,
                "crops, token_file: share of the training sequences in which a passage comes again at a random "
                "distance, over what stood there",
                {0.0, 1.0});
  visitor.field("repeat_min_tokens", config.repeat_min_tokens, Role::recipe, "least tokens of such a passage",
                {1, kMaxLength});
  visitor.field("repeat_max_tokens", config.repeat_max_tokens, Role::recipe,
                "most tokens of such a passage; a document too short for it twice gets a shorter one", {1, kMaxLength});
  visitor.field(
      "packed_documents", config.packed_documents, Role::recipe,
      "token_file: true: a sequence runs on into the next document; false: it ends with its document, padded");
  visitor.field("verify_tokens", config.verify_tokens, Role::place,
                "token_file: compare the checksum of all tokens at start (reads the whole file)");
  visitor.field("accept_other_tokenizer", config.accept_other_tokenizer, Role::free,
                "take data whose tokens are not those of the tokenizer in the model's folder");
}

namespace {

void check_repeats(base::ConfigProblems& problems, const DataConfig& config) {
  if (config.repeat_share == 0) return;
  problems.require(config.kind == DataKind::crops || config.kind == DataKind::token_file, {"repeat_share", "kind"},
                   "is for crops and token_file: phrases and lines repeat themselves");
  problems.require(config.repeat_min_tokens <= config.repeat_max_tokens, {"repeat_min_tokens", "repeat_max_tokens"},
                   "is ", config.repeat_min_tokens, ", more than ", problems.full_key("repeat_max_tokens"), ", ",
                   config.repeat_max_tokens);
  std::vector<int64_t> lengths = config.curriculum_sequence_lengths;
  lengths.push_back(config.sequence_length);
  const int64_t shortest = *std::min_element(lengths.begin(), lengths.end());
  problems.require(2 * config.repeat_min_tokens <= shortest,
                   {"repeat_min_tokens", "sequence_length", "curriculum_sequence_lengths"}, "is ",
                   config.repeat_min_tokens, ": no sequence of ", shortest, " tokens holds such a passage twice");
}

void check_sources(base::ConfigProblems& problems, const DataConfig& config) {
  if (config.sources.empty()) return;
  problems.require(config.kind == DataKind::token_file, {"sources", "kind"}, "needs kind token_file");
  problems.require(config.train_path.empty(), {"sources", "train_path"}, "stands in the place of ",
                   problems.full_key("train_path"), "; give one of them");
  double total = 0;
  std::set<std::string> names;
  for (const DataSourceEntry& entry : config.sources) {
    total += entry.weight;
    problems.require(!entry.path.empty(), {"sources"}, "has an entry without a path: name its token file");
    problems.require(entry.path.empty() || names.insert(entry.name).second, {"sources"}, "has two entries called '",
                     entry.name, "'; give them different names");
  }
  for (const DataSourceEntry& entry : config.sources) {
    problems.require(entry.weight * MixtureOrder::kBlock >= total * (1 + 1e-6) && entry.weight > 0, {"sources"}, "'",
                     entry.name, "' has the weight ", entry.weight, " of ", total,
                     " together, expected a share above 1/", MixtureOrder::kBlock, "; leave it out or give it more");
  }
}

}  // namespace

void check(base::ConfigProblems& problems, const DataConfig& given) {
  const DataConfig config = with_defaults(given);
  problems.require(config.sequence_length >= 2, {"sequence_length"}, "is ", config.sequence_length,
                   ", expected at least 2");
  check_curriculum(problems, config);
  check_sources(problems, config);
  check_repeats(problems, config);
  if (has_phrases(config)) check_phrases(problems, config);
  problems.require(has_phrases(config) || config.unrecallable_weight == 1.0, {"unrecallable_weight", "kind"},
                   "needs kind phrases or lines: other data has no recallable tokens");
  problems.require(has_phrases(config) || config.curriculum_unrecallable_weights.empty(),
                   {"curriculum_unrecallable_weights", "kind"},
                   "needs kind phrases or lines: other data has no recallable tokens");
  problems.require(has_phrases(config) || config.curriculum_pool_sizes.empty(), {"curriculum_pool_sizes", "kind"},
                   "needs kind phrases or lines");
  problems.require(config.kind != DataKind::phrases || config.vocabulary_size > config.alphabet_size,
                   {"vocabulary_size", "alphabet_size"}, "is ", config.vocabulary_size, ", expected more than ",
                   problems.full_key("alphabet_size"), ", ", config.alphabet_size);
}

DataConfig resolve(DataConfig config) {
  base::ConfigProblems problems;
  problems.section("data", config);
  problems.throw_if_any();
  return with_defaults(std::move(config));
}

std::vector<DataStage> stages(const DataConfig& config) {
  std::vector<DataStage> result;
  int64_t first_step = 0;
  for (size_t i = 0; i < config.curriculum_until.size(); ++i) {
    const auto pick = [i](const auto& list, auto value) { return i < list.size() ? list[i] : value; };
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
