// SuiteConfig: which long-context tasks an evaluation runs, at which lengths and depths. docs/evaluation.md explains
// the tasks.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/config_problems.h"
#include "base/fields.h"

namespace rosa::training {

enum class SuiteTaskKind {
  language,    // held-out sequences, token by token, by what is known of each token
  length,      // the same text in ever longer sequences
  needle,      // a key and its value somewhere in real text, asked for at the end
  recall,      // many keys and values in real text, all asked for at the end
  multi_hop,   // a chain of keys, each of which leads to the next
  last_value,  // a key that gets a new value again and again
  copy,        // a passage of real text, and the same again after a distance
};

// One task. The keys that its kind does not use have no effect.
struct SuiteTask {
  SuiteTaskKind task = SuiteTaskKind::language;
  std::string name;                                    // resolved: the kind
  std::vector<int64_t> lengths;                        // tokens
  std::vector<int64_t> multiples = {1};                // of data.sequence_length; in the place of empty `lengths`
  std::vector<int64_t> depths = {0, 25, 50, 75, 100};  // percent of the text before the needle
  int64_t count = 16;                                  // sequences of one length and depth
  int64_t key_tokens = 4, value_tokens = 4;
  int64_t num_pairs = 4;                           // recall
  int64_t num_hops = 3;                            // multi_hop
  int64_t num_values = 4;                          // last_value
  int64_t passage_tokens = 32, prompt_tokens = 8;  // copy: of the passage, and of it those that are not scored
};

void describe(base::FieldVisitor& visitor, SuiteTask& task);

struct SuiteConfig {
  std::vector<SuiteTask> tasks;
  int64_t seed = 0;
  int64_t teacher_max = 8192;    // longer sequences are not given to the teacher
  int64_t whole_max = 4096;      // longer sequences are streamed; the controls can't be, and run in pieces
  int64_t controls_max = 0;      // longer sequences are not given to the controls; 0: as whole_max
  int64_t num_resamples = 1000;  // of the bootstrap
};

void describe(base::FieldVisitor& visitor, SuiteConfig& config);
void check(base::ConfigProblems& problems, const SuiteConfig& config);

// Names of the suites that the program brings, smallest first.
std::vector<std::string> suite_names();
// Throws ConfigError for another name.
SuiteConfig built_in_suite(const std::string& name);

// The lengths of a task in tokens, ascending, where sequences of training are `sequence_length` long.
std::vector<int64_t> lengths_of(const SuiteTask& task, int64_t sequence_length);

// The name that a kind has in files.
std::string task_name(SuiteTaskKind kind);

}  // namespace rosa::training
