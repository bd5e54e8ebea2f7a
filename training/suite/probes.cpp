#include "training/suite/probes.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "base/error.h"
#include "base/random.h"

namespace rosa::training {
namespace {

using Tokens = std::vector<int64_t>;

constexpr uint64_t kStreamOfProbes = 0x70726f6265;  // tells these numbers from all others of the seed

// Draws keys and values from the tokens of a text.
class TokenDraws {
 public:
  TokenDraws(const SuiteTask& task, uint64_t seed, int64_t length, int64_t number, std::span<const int64_t> text)
      : random_({.seed = seed,
                 .step = static_cast<uint64_t>(task.task),
                 .sample = static_cast<uint64_t>(number),
                 .layer = kStreamOfProbes + static_cast<uint64_t>(length)}),
        text_(text) {
    const std::set<int64_t> different(text.begin(), text.end());
    tokens_.assign(different.begin(), different.end());
  }

  Tokens value(int64_t num_tokens) {
    Tokens drawn(static_cast<size_t>(num_tokens));
    for (int64_t& token : drawn) token = tokens_[random_.below(tokens_.size())];
    return drawn;
  }

  // One that neither the text nor a key before it holds.
  Tokens key(int64_t num_tokens) {
    constexpr int kMaxAttempts = 1000;
    for (int attempt = 0; attempt < kMaxAttempts; ++attempt) {
      Tokens drawn = value(num_tokens);
      const bool is_in_text = std::search(text_.begin(), text_.end(), drawn.begin(), drawn.end()) != text_.end();
      if (!is_in_text && keys_.insert(drawn).second) return drawn;
    }
    throw base::DataError(base::concat(
        "no key of ", num_tokens, " tokens was found that the held-out text does not hold: it has ", tokens_.size(),
        " different tokens in a sequence; make the suite's key_tokens larger, or its lengths smaller"));
  }

  base::RandomStream& random() { return random_; }

 private:
  base::RandomStream random_;
  std::span<const int64_t> text_;
  Tokens tokens_;
  std::set<Tokens> keys_;
};

Tokens joined(const Tokens& first, const Tokens& second) {
  Tokens all = first;
  all.insert(all.end(), second.begin(), second.end());
  return all;
}

void append(Probe& probe, std::span<const int64_t> tokens) {
  probe.ids.insert(probe.ids.end(), tokens.begin(), tokens.end());
}

void append_answer(Probe& probe, const Tokens& tokens) {
  const auto first = static_cast<int64_t>(probe.ids.size());
  append(probe, tokens);
  probe.answers.emplace_back(first, static_cast<int64_t>(probe.ids.size()));
}

// `pieces` in equal distances in `filler`, the first one behind its first part.
void scatter(Probe& probe, std::span<const int64_t> filler, const std::vector<Tokens>& pieces) {
  size_t used = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const size_t end = filler.size() * (i + 1) / (pieces.size() + 1);
    append(probe, filler.subspan(used, end - used));
    append(probe, pieces[i]);
    used = end;
  }
  append(probe, filler.subspan(used));
}

std::vector<size_t> shuffled_order(size_t size, base::RandomStream& random) {
  std::vector<size_t> order(size);
  std::iota(order.begin(), order.end(), size_t{0});
  for (size_t i = size; i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

Probe needle(const SuiteTask& task, TokenDraws& draws, size_t length, int64_t depth, std::span<const int64_t> text) {
  const Tokens key = draws.key(task.key_tokens), value = draws.value(task.value_tokens);
  const auto filler = text.first(length - 2 * (key.size() + value.size()));
  const size_t before = filler.size() * static_cast<size_t>(depth) / 100;
  Probe probe;
  append(probe, filler.first(before));
  append(probe, joined(key, value));
  append(probe, filler.subspan(before));
  append(probe, key);
  append_answer(probe, value);
  return probe;
}

Probe recall(const SuiteTask& task, TokenDraws& draws, size_t length, std::span<const int64_t> text) {
  std::vector<Tokens> keys, values, pairs;
  for (int64_t i = 0; i < task.num_pairs; ++i) {
    keys.push_back(draws.key(task.key_tokens));
    values.push_back(draws.value(task.value_tokens));
    pairs.push_back(joined(keys.back(), values.back()));
  }
  Probe probe;
  scatter(probe, text.first(length - 2 * pairs.size() * pairs.front().size()), pairs);
  for (const size_t i : shuffled_order(keys.size(), draws.random())) {
    append(probe, keys[i]);
    append_answer(probe, values[i]);
  }
  return probe;
}

Probe multi_hop(const SuiteTask& task, TokenDraws& draws, size_t length, std::span<const int64_t> text) {
  std::vector<Tokens> keys = {draws.key(task.key_tokens)};
  std::vector<Tokens> links;
  for (int64_t i = 0; i < task.num_hops; ++i) {
    keys.push_back(draws.key(task.key_tokens));
    links.push_back(joined(keys[keys.size() - 2], keys.back()));
  }
  std::vector<Tokens> scattered;
  for (const size_t i : shuffled_order(links.size(), draws.random())) scattered.push_back(links[i]);
  const auto num_planted = static_cast<size_t>((3 * task.num_hops + 1) * task.key_tokens);
  Probe probe;
  scatter(probe, text.first(length - num_planted), scattered);
  append(probe, keys.front());
  Tokens answer;
  for (size_t i = 1; i < keys.size(); ++i) answer = joined(answer, keys[i]);
  append_answer(probe, answer);
  return probe;
}

Probe last_value(const SuiteTask& task, TokenDraws& draws, size_t length, std::span<const int64_t> text) {
  const Tokens key = draws.key(task.key_tokens);
  std::vector<Tokens> pairs;
  Tokens value;
  for (int64_t i = 0; i < task.num_values; ++i) {
    value = draws.value(task.value_tokens);
    pairs.push_back(joined(key, value));
  }
  Probe probe;
  scatter(probe, text.first(length - (pairs.size() + 1) * pairs.front().size()), pairs);
  append(probe, key);
  append_answer(probe, value);
  return probe;
}

// The sequence begins with the passage, so that the distance is all that lies between.
Probe copy(const SuiteTask& task, size_t length, std::span<const int64_t> text) {
  const auto num_passage = static_cast<size_t>(task.passage_tokens),
             num_prompt = static_cast<size_t>(task.prompt_tokens);
  const auto passage = text.first(num_passage);
  Probe probe;
  append(probe, text.first(length - num_passage));
  append(probe, passage.first(num_prompt));
  append_answer(probe, Tokens(passage.begin() + static_cast<std::ptrdiff_t>(num_prompt), passage.end()));
  return probe;
}

}  // namespace

Probe make_probe(const SuiteTask& task, uint64_t seed, int64_t length, int64_t depth, int64_t number,
                 std::span<const int64_t> text) {
  const auto size = static_cast<size_t>(length);
  base::require(text.size() >= size, "make_probe: got ", text.size(), " tokens of text, expected at least ", length);
  text = text.first(size);
  TokenDraws draws(task, seed, length, number, text);
  switch (task.task) {
    case SuiteTaskKind::needle:
      return needle(task, draws, size, depth, text);
    case SuiteTaskKind::recall:
      return recall(task, draws, size, text);
    case SuiteTaskKind::multi_hop:
      return multi_hop(task, draws, size, text);
    case SuiteTaskKind::last_value:
      return last_value(task, draws, size, text);
    case SuiteTaskKind::copy:
      return copy(task, size, text);
    case SuiteTaskKind::language:
    case SuiteTaskKind::length:
      break;
  }
  throw base::ArgumentError(base::concat("make_probe: the task '", task_name(task.task), "' has no probes"));
}

}  // namespace rosa::training
