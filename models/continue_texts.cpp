#include "models/continue_texts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <set>

#include "base/error.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::models {
namespace {

using base::require;

// What verifying a further token costs, in forwards of a single one; a little more than measured.
constexpr double kTokenCost = 0.15;
// Drafts must promise so much, so that what the estimate lacks does not slow prose down.
constexpr double kWorthwhile = 1.1;
constexpr int64_t kLongestDraft = 8;
constexpr int64_t kShortestMatch = 2;  // where drafts are always wanted

// How often the token behind the longest match was the next one, by the length of the match, the latest counting most.
class MatchRecord {
 public:
  void note(int64_t length, bool was_right) {
    Class& record = classes_[index(length)];
    constexpr double kMemory = 0.95;
    record.right = kMemory * record.right + (was_right ? 1 : 0);
    record.all = kMemory * record.all + 1;
  }
  // Expects nothing of a length that has not been seen.
  double probability(int64_t length) const {
    const Class& record = classes_[index(length)];
    return record.right / (record.all + 1);
  }

 private:
  struct Class {
    double right = 0, all = 0;
  };
  static size_t index(int64_t length) {
    return std::min<size_t>(std::bit_width(static_cast<uint64_t>(length)), kNumClasses - 1);
  }
  static constexpr size_t kNumClasses = 8;
  std::array<Class, kNumClasses> classes_;
};

// The length of a draft that gives the most tokens for its cost, each being right with this probability; 0: none.
int64_t best_draft(double probability) {
  int64_t best = 0;
  double expected = 1, power = 1, best_rate = kWorthwhile;
  for (int64_t count = 1; count <= kLongestDraft; ++count) {
    power *= probability;
    expected += power;
    const double rate = expected / (1 + kTokenCost * static_cast<double>(count));
    if (rate <= best_rate) continue;
    best_rate = rate;
    best = count;
  }
  return best;
}

// What continue_texts knows of one text.
class Text {
 public:
  Text(std::vector<int64_t>& tokens, const GenerateOptions& options, Speculation speculation)
      : tokens_(tokens), options_(options), speculation_(speculation), num_left_(options.max_new_tokens) {
    for (const int64_t token : tokens) take_note(token);
  }

  bool has_ended() const { return num_left_ == 0; }

  // What follows the longest match, as many tokens as are worth a try.
  std::vector<int64_t> draft() const {
    if (speculation_ == Speculation::off || match_.length == 0) return {};
    int64_t count = speculation_ == Speculation::automatic ? best_draft(record_.probability(match_.length))
                                                           : (match_.length >= kShortestMatch ? kLongestDraft : 0);
    count = std::min(count, num_left_ - 1);
    std::vector<int64_t> drafted;
    const int64_t size = static_cast<int64_t>(tokens_.size());
    for (int64_t from = match_.position + 1; count > 0; ++from, --count) {
      drafted.push_back(from < size ? tokens_[from] : drafted[from - size]);
    }
    return drafted;
  }

  // Chooses the next token by the logits of the last one, and adds it.
  int64_t add_next(const at::Tensor& logits, const std::function<bool(int64_t)>& on_token) {
    const int64_t token = choose_token(logits, options_, static_cast<int64_t>(tokens_.size()), seen_);
    if (speculation_ == Speculation::automatic && match_.length > 0) {
      record_.note(match_.length, tokens_[match_.position + 1] == token);
    }
    tokens_.push_back(token);
    take_note(token);
    --num_left_;
    const auto& stops = options_.stop_tokens;
    if (std::find(stops.begin(), stops.end(), token) != stops.end()) num_left_ = 0;
    if (on_token && !on_token(token)) num_left_ = 0;
    return token;
  }

 private:
  void take_note(int64_t token) {
    if (options_.repetition_penalty != 1) seen_.insert(token);
    if (speculation_ != Speculation::off) {
      match_ = matcher_.append(static_cast<uint64_t>(token), static_cast<uint64_t>(token));
    }
  }

  std::vector<int64_t>& tokens_;
  const GenerateOptions& options_;
  const Speculation speculation_;
  int64_t num_left_;
  std::set<int64_t> seen_;
  automaton::StreamingMatcher matcher_;
  automaton::Match match_;
  MatchRecord record_;
};

void check_call(const Generator& generator, const std::vector<std::vector<int64_t>>& texts,
                std::span<const GenerateOptions> options, Speculation speculation) {
  require(static_cast<int64_t>(texts.size()) == generator.batch() && options.size() == texts.size(), "got ",
          texts.size(), " texts and ", options.size(), " options for a generator of ", generator.batch());
  for (size_t text = 0; text < texts.size(); ++text) {
    check(options[text]);
    require(static_cast<int64_t>(texts[text].size()) > generator.size(static_cast<int64_t>(text)), "text ", text,
            " has ", texts[text].size(), " tokens, of which the generator holds ",
            generator.size(static_cast<int64_t>(text)), "; expected at least one more");
  }
  require(speculation != Speculation::on || generator.rows_are_independent(),
          "drafting needs forwards whose bits do not depend on the number of tokens: a model on the CPU, in float32 or "
          "bfloat16");
}

}  // namespace

ContinueStatistics continue_texts(Generator& generator, std::vector<std::vector<int64_t>>& texts,
                                  std::span<const GenerateOptions> options, Speculation speculation,
                                  const OnToken& on_token) {
  check_call(generator, texts, options, speculation);
  if (!generator.rows_are_independent()) speculation = Speculation::off;
  std::vector<Text> states;
  states.reserve(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) states.emplace_back(texts[i], options[i], speculation);
  ContinueStatistics statistics;
  while (true) {
    std::vector<std::vector<int64_t>> pieces(texts.size()), drafts(texts.size());
    bool all_ended = true;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (states[i].has_ended()) continue;
      all_ended = false;
      pieces[i].assign(texts[i].begin() + generator.size(static_cast<int64_t>(i)), texts[i].end());
      if (pieces[i].size() > 1) continue;
      drafts[i] = states[i].draft();
      pieces[i].insert(pieces[i].end(), drafts[i].begin(), drafts[i].end());
      statistics.num_forwards += 1;
      statistics.num_drafted += static_cast<int64_t>(drafts[i].size());
    }
    if (all_ended) return statistics;
    const std::vector<at::Tensor> hidden = generator.append(pieces);
    // The last token before the draft, and those of the draft.
    std::vector<at::Tensor> wanted;
    for (size_t i = 0; i < texts.size(); ++i) {
      const auto count = static_cast<int64_t>(drafts[i].size()) + 1;
      if (hidden[i].defined()) wanted.push_back(hidden[i].narrow(0, hidden[i].size(0) - count, count));
    }
    const at::Tensor logits = generator.logits(at::cat(wanted, 0));
    int64_t first = 0;
    for (size_t i = 0; i < texts.size(); ++i) {
      if (!hidden[i].defined()) continue;
      const auto text = static_cast<int64_t>(i);
      for (size_t drafted = 0; drafted <= drafts[i].size(); ++drafted) {
        const int64_t token = states[i].add_next(logits[first + static_cast<int64_t>(drafted)],
                                                 [&](int64_t next) { return !on_token || on_token(text, next); });
        statistics.num_tokens += 1;
        const bool was_right = drafted < drafts[i].size() && token == drafts[i][drafted];
        statistics.num_accepted += was_right ? 1 : 0;
        if (!was_right || states[i].has_ended()) break;
      }
      first += static_cast<int64_t>(drafts[i].size()) + 1;
      generator.rewind(text, generator.size(text) - static_cast<int64_t>(texts[i].size()) + 1);
    }
  }
}

}  // namespace rosa::models
