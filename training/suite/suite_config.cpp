#include "training/suite/suite_config.h"

#include <algorithm>
#include <set>
#include <utility>

#include "base/error.h"

namespace rosa::training {
namespace {

using base::Role;

constexpr int64_t kMaxLength = int64_t{1} << 24;

const std::vector<std::pair<std::string, SuiteTaskKind>> kKinds = {{"language", SuiteTaskKind::language},
                                                                   {"length", SuiteTaskKind::length},
                                                                   {"needle", SuiteTaskKind::needle},
                                                                   {"recall", SuiteTaskKind::recall},
                                                                   {"multi_hop", SuiteTaskKind::multi_hop},
                                                                   {"last_value", SuiteTaskKind::last_value},
                                                                   {"copy", SuiteTaskKind::copy}};

// The most tokens that all keys and values of a task take.
int64_t planted_tokens(const SuiteTask& task) {
  const int64_t pair = task.key_tokens + task.value_tokens;
  switch (task.task) {
    case SuiteTaskKind::language:
    case SuiteTaskKind::length:
      return 1;
    case SuiteTaskKind::needle:
      return 2 * pair;
    case SuiteTaskKind::recall:
      return 2 * pair * task.num_pairs;
    case SuiteTaskKind::multi_hop:
      return (3 * task.num_hops + 1) * task.key_tokens;
    case SuiteTaskKind::last_value:
      return pair * (task.num_values + 1);
    case SuiteTaskKind::copy:
      return 2 * task.passage_tokens;
  }
  return 1;
}

SuiteTask task_of(SuiteTaskKind kind, std::vector<int64_t> multiples, int64_t count) {
  SuiteTask task;
  task.task = kind;
  task.name = task_name(kind);
  task.multiples = std::move(multiples);
  task.count = count;
  return task;
}

SuiteConfig retrieval_suite(const std::vector<int64_t>& multiples, int64_t count, std::vector<int64_t> depths) {
  SuiteConfig suite;
  for (const auto& [name, kind] : kKinds) {
    suite.tasks.push_back(
        task_of(kind, multiples, kind == SuiteTaskKind::length ? std::max<int64_t>(2, count / 4) : count));
    if (kind == SuiteTaskKind::needle) suite.tasks.back().depths = depths;
  }
  return suite;
}

// A key that the task does not use, and that was given a value of its own: whoever wrote it expects something of it.
void check_unused(base::ConfigProblems& problems, const std::string& prefix, const SuiteTask& task) {
  using Kind = SuiteTaskKind;
  const SuiteTask defaults;
  const Kind kind = task.task;
  const bool has_keys = kind != Kind::language && kind != Kind::length && kind != Kind::copy;
  const auto refuse = [&](const char* key, bool is_used, bool is_default) {
    problems.require(is_used || is_default, {prefix + key}, "the task ", task_name(kind), " has no use for it");
  };
  refuse("lengths", kind != Kind::language, task.lengths.empty());
  refuse("depths", kind == Kind::needle, task.depths == defaults.depths);
  refuse("key_tokens", has_keys, task.key_tokens == defaults.key_tokens);
  refuse("value_tokens", has_keys && kind != Kind::multi_hop, task.value_tokens == defaults.value_tokens);
  refuse("num_pairs", kind == Kind::recall, task.num_pairs == defaults.num_pairs);
  refuse("num_hops", kind == Kind::multi_hop, task.num_hops == defaults.num_hops);
  refuse("num_values", kind == Kind::last_value, task.num_values == defaults.num_values);
  refuse("passage_tokens", kind == Kind::copy, task.passage_tokens == defaults.passage_tokens);
  refuse("prompt_tokens", kind == Kind::copy, task.prompt_tokens == defaults.prompt_tokens);
}

}  // namespace

std::string task_name(SuiteTaskKind kind) {
  const auto found =
      std::find_if(kKinds.begin(), kKinds.end(), [&](const auto& entry) { return entry.second == kind; });
  return found->first;
}

void describe(base::FieldVisitor& visitor, SuiteTask& task) {
  visitor.choice("task", task.task, Role::free, kKinds, "what is asked of the model");
  visitor.field("name", task.name, Role::free, "in tables and files; resolved: the kind of the task");
  visitor.field("lengths", task.lengths, Role::free, "tokens of a sequence", {2, kMaxLength});
  visitor.field("multiples", task.multiples, Role::free,
                "where lengths is empty: lengths as multiples of data.sequence_length", {1, 1 << 16});
  visitor.field("depths", task.depths, Role::free, "needle: percent of the text that stands before it", {0, 100});
  visitor.field("count", task.count, Role::free,
                "sequences for each length and depth; language takes evaluation.num_sequences", {1, 1 << 20});
  visitor.field("key_tokens", task.key_tokens, Role::free, "tokens of a key", {1, 1 << 10});
  visitor.field("value_tokens", task.value_tokens, Role::free, "tokens of a value", {1, 1 << 10});
  visitor.field("num_pairs", task.num_pairs, Role::free, "recall: keys with their values", {1, 1 << 16});
  visitor.field("num_hops", task.num_hops, Role::free, "multi_hop: steps from the first key to the last", {1, 1 << 10});
  visitor.field("num_values", task.num_values, Role::free, "last_value: values that the key gets", {2, 1 << 16});
  visitor.field("passage_tokens", task.passage_tokens, Role::free, "copy: tokens of the passage", {2, 1 << 20});
  visitor.field("prompt_tokens", task.prompt_tokens, Role::free,
                "copy: tokens at the start of the second passage that are not scored", {1, 1 << 20});
}

void describe(base::FieldVisitor& visitor, SuiteConfig& config) {
  visitor.field("seed", config.seed, Role::free, "of keys, values and resampling");
  visitor.field("teacher_max", config.teacher_max, Role::free, "longer sequences are not given to the teacher",
                {2, kMaxLength});
  visitor.field("whole_max", config.whole_max, Role::free,
                "longer sequences are streamed, with memory for the window; the controls can't be: see controls_max",
                {2, kMaxLength});
  visitor.field("controls_max", config.controls_max, Role::free,
                "longer sequences are not given to the controls; beyond whole_max they run in pieces, with memory for "
                "the symbols and hidden states of the whole sequence; 0: as whole_max",
                {0, kMaxLength});
  visitor.field("num_resamples", config.num_resamples, Role::free, "of the bootstrap behind the intervals",
                {100, 1 << 20});
  visitor.list("tasks", config.tasks, Role::free, "what is run, in this order");
}

void check(base::ConfigProblems& problems, const SuiteConfig& config) {
  problems.require(!config.tasks.empty(), {"tasks"}, "empty; expected a list, as in '- task: needle'");
  std::set<std::string> names;
  for (size_t i = 0; i < config.tasks.size(); ++i) {
    const SuiteTask& task = config.tasks[i];
    const auto key = [i](const char* name) { return base::concat("tasks[", i, "].", name); };
    const std::string name = task.name.empty() ? task_name(task.task) : task.name;
    problems.require(names.insert(name).second, {key("name")}, "two tasks are called '", name,
                     "'; give one another name");
    problems.require(!task.lengths.empty() || !task.multiples.empty(), {key("multiples"), key("lengths")},
                     "both are empty; expected at least one length");
    problems.require(task.task != SuiteTaskKind::needle || !task.depths.empty(), {key("depths")},
                     "empty; expected percentages, as in [0, 50, 100]");
    problems.require(task.task != SuiteTaskKind::copy || task.prompt_tokens < task.passage_tokens,
                     {key("prompt_tokens"), key("passage_tokens")}, "got ", task.prompt_tokens,
                     "; expected less than the passage has, ", task.passage_tokens);
    check_unused(problems, base::concat("tasks[", i, "]."), task);
    for (const int64_t length : task.lengths) {
      problems.require(length > planted_tokens(task), {key("lengths")}, "got ", length,
                       "; keys, values and passages of this task take ", planted_tokens(task), " tokens already");
    }
  }
}

std::vector<std::string> suite_names() { return {"quick", "standard", "long"}; }

SuiteConfig built_in_suite(const std::string& name) {
  if (name == "quick") return retrieval_suite({1, 2}, 8, {0, 50, 100});
  if (name == "standard") return retrieval_suite({1, 2, 4, 8}, 32, {0, 25, 50, 75, 100});
  base::require<base::ConfigError>(name == "long", "there is no suite '", name,
                                   "'; expected quick, standard, long, or a YAML file");
  return retrieval_suite({1, 4, 16, 64}, 32, {0, 25, 50, 75, 100});
}

std::vector<int64_t> lengths_of(const SuiteTask& task, int64_t sequence_length) {
  const int64_t least = planted_tokens(task) + 1;
  std::set<int64_t> lengths(task.lengths.begin(), task.lengths.end());
  if (lengths.empty()) {
    for (const int64_t multiple : task.multiples) {
      if (multiple * sequence_length >= least) lengths.insert(multiple * sequence_length);
    }
    base::require<base::ConfigError>(
        !lengths.empty(), "the suite's task '", task.name, "' needs sequences of at least ", least,
        " tokens for its keys, values and passages, and none of its multiples of ", "data.sequence_length, ",
        sequence_length, ", is as long: give it `lengths` in a suite of your own (docs/evaluation.md)");
  }
  for (const int64_t length : lengths) {
    base::require<base::ConfigError>(length >= least && length <= kMaxLength, "the suite's task '", task.name,
                                     "' can't be made with sequences of ", length, " tokens; expected ", least, " to ",
                                     kMaxLength);
  }
  return {lengths.begin(), lengths.end()};
}

}  // namespace rosa::training
