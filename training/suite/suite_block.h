// SuiteBlock: one task at one length and depth, as a list of sequences that can be scored one by one, in any order and
// on any rank.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "training/evaluation.h"
#include "training/suite/suite_config.h"

namespace rosa::training {

// What one variant reached in one document of a sequence, over the tokens of one group.
struct ScoreSums {
  double num_tokens = 0.0, ce = 0.0, num_top1 = 0.0;
  double kl = 0.0, num_agreeing = 0.0;        // to the teacher, where it ran too
  double num_answers = 0.0, num_exact = 0.0;  // of probes
  double seconds = 0.0, state_bytes = 0.0;    // of the whole sequence; not the same on every run

  static constexpr size_t kSize = 9;
};

struct SuiteBlock {
  std::string task;  // its name in the suite
  int64_t length = 0;
  std::optional<int64_t> depth = {};          // percent
  std::vector<std::string> groups = {"all"};  // of tokens
  std::vector<std::string> variants = {};
  bool has_teacher = false;                    // kl and agreement are filled
  std::optional<double> bytes_per_token = {};  // of text, where that is known
  int64_t num_sequences = 0;
  // Documents of each sequence, which intervals are taken over; empty: each sequence is one.
  std::vector<int64_t> num_documents = {};
  // The sums of a sequence, [document][variant][group]. No collective.
  std::function<std::vector<ScoreSums>(int64_t sequence)> score = {};
};

// Held-out sequences of any length, of whatever kind the run's data is: a file's tokens follow each other there across
// the borders of documents.
class HeldOutTexts {
 public:
  HeldOutTexts(const RunConfig& config, int64_t samples_per_step) : config_(config), samples_(samples_per_step) {}

  // Throws DataError where the held-out data is too short for such a sequence.
  const DataSource& of_length(int64_t length);
  // The ids of one sequence.
  std::vector<int64_t> tokens(int64_t length, int64_t number);
  // The held-out sequences of one source of a mixture, as long as those of the training. Throws what make_data_source
  // does, and DataError where a token is none of the model's.
  const DataSource& of_source(const DataSourceEntry& source);

 private:
  const RunConfig& config_;
  int64_t samples_;
  std::map<int64_t, std::unique_ptr<DataSource>> sources_;
  std::map<std::string, std::unique_ptr<DataSource>> of_mixture_;  // by path
};

// What blocks are made from; everything outlives them.
struct SuiteContext {
  const SuiteConfig& suite;
  const RunConfig& config;
  const RunParts& parts;
  const std::vector<std::string>& variants;
  HeldOutTexts& texts;
  // Told after each piece of a text that is streamed; may be empty.
  std::function<void(const std::string& variant, int64_t num_tokens_done, int64_t num_tokens)> on_piece = {};
};

// The variants that serve sequences of so many tokens: the teacher up to teacher_max, controls up to controls_max.
std::vector<std::string> variants_at(const SuiteContext& context, int64_t length);

std::vector<SuiteBlock> language_blocks(const SuiteContext& context, const SuiteTask& task);
std::vector<SuiteBlock> length_blocks(const SuiteContext& context, const SuiteTask& task);
std::vector<SuiteBlock> probe_blocks(const SuiteContext& context, const SuiteTask& task);

}  // namespace rosa::training
