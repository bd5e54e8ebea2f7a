// The task `language`: held-out sequences as the training sees them, by what is known of each token.
#include <algorithm>
#include <bit>
#include <map>
#include <memory>

#include "base/error.h"
#include "training/suite/head_matches.h"
#include "training/suite/suite_block.h"
#include "training/suite/symbol_matches.h"
#include "training/suite/token_scores.h"

namespace rosa::training {
namespace {

// A copy: the latest earlier place with at least so many equal tokens behind it, and the same token after it.
constexpr int32_t kMinCopy = 4;
constexpr int64_t kFirstPositions = 64;
constexpr int64_t kFirstDistance = 64;
constexpr int64_t kMaxDocuments = 5000;

// Groups by a number that doubles from one to the next.
class Ranges {
 public:
  Ranges() = default;
  // "WHAT 1 to 63", "WHAT 64 to 127" and so on, up to `end` - 1.
  Ranges(std::vector<std::string>& names, const char* what, int64_t first_end, int64_t end)
      : first_group_(names.size()) {
    for (int64_t begin = 1, next = first_end;; begin = next, next *= 2) {
      names.push_back(base::concat(what, " ", begin, " to ", std::min(next, end) - 1));
      ends_.push_back(next);
      if (next >= end) return;
    }
  }

  // The group of a number that is at least 1; what lies beyond the last belongs to it.
  size_t of(int64_t number) const {
    const auto found = std::upper_bound(ends_.begin(), ends_.end() - 1, number);
    return first_group_ + static_cast<size_t>(found - ends_.begin());
  }

 private:
  size_t first_group_ = 0;
  std::vector<int64_t> ends_;
};

// Groups by the length of a match: none, 1, 2 to 3, 4 to 7 and so on, the last one open.
class MatchLengths {
 public:
  MatchLengths() = default;
  MatchLengths(std::vector<std::string>& names, const char* none, const char* what, int num_classes)
      : first_group_(names.size()), num_classes_(num_classes) {
    names.emplace_back(none);
    for (int i = 1; i < num_classes; ++i) {
      const int begin = 1 << (i - 1), last = 2 * begin - 1;
      const std::string range = i + 1 == num_classes ? base::concat(begin, " or more")
                                : begin == last      ? std::to_string(begin)
                                                     : base::concat(begin, " to ", last);
      names.push_back(base::concat(what, " ", range));
    }
  }

  size_t of(int32_t length) const {
    const int bits = std::bit_width(static_cast<uint32_t>(length));
    return first_group_ + static_cast<size_t>(std::min(bits, num_classes_ - 1));
  }

 private:
  size_t first_group_ = 0;
  int num_classes_ = 1;
};

// What is known of a token, by the match of what stands before it.
struct TokenFacts {
  size_t document = 0;   // of the sequence
  int64_t position = 0;  // in its document
  bool is_recallable = false;
  bool is_copy = false;
  int64_t distance = 0;  // to the match; where there is one
  int32_t length = 0;    // of the match
  int64_t head_distance = 0;
  int32_t head_length = 0;
};

// The groups of tokens, by name; a token is in several. Those of the heads' matches where `has_heads`.
class Groups {
 public:
  Groups(int64_t length, int64_t window, bool has_heads) : window_(window), has_heads_(has_heads) {
    names_ = {"all", "recallable", "copied within the window", "copied from beyond the window", "not copied"};
    positions_ = Ranges(names_, "position", kFirstPositions, length);
    lengths_ = MatchLengths(names_, "no match", "match of", 6);
    distances_ = Ranges(names_, "match at distance", kFirstDistance, length);
    if (!has_heads) return;
    head_lengths_ = MatchLengths(names_, "no match in any head", "head match of", 8);
    head_distances_ = Ranges(names_, "head match at distance", kFirstDistance, length);
  }

  const std::vector<std::string>& names() const { return names_; }

  std::vector<size_t> of(const TokenFacts& token) const {
    std::vector<size_t> groups = {0};
    if (token.is_recallable) groups.push_back(1);
    groups.push_back(!token.is_copy ? 4 : token.distance < window_ ? 2 : 3);
    groups.push_back(positions_.of(token.position));
    groups.push_back(lengths_.of(token.length));
    if (token.length > 0) groups.push_back(distances_.of(token.distance));
    if (!has_heads_) return groups;
    groups.push_back(head_lengths_.of(token.head_length));
    if (token.head_length > 0) groups.push_back(head_distances_.of(token.head_distance));
    return groups;
  }

 private:
  int64_t window_;
  bool has_heads_;
  std::vector<std::string> names_;
  Ranges positions_, distances_, head_distances_;
  MatchLengths lengths_, head_lengths_;
};

// What is known of the tokens of one sequence.
struct Row {
  std::vector<int64_t> positions;  // t of the tokens that count
  std::vector<TokenFacts> tokens;  // of each
};

Row describe_row(const Batch& batch) {
  const int64_t length = batch.input_ids.size(1);
  const int64_t* ids = batch.input_ids.const_data_ptr<int64_t>();
  const std::vector<int32_t> starts = document_starts(batch);
  const SymbolMatches matches = match_tokens(batch);
  const at::Tensor counted = counted_tokens(batch).contiguous();
  const bool* counts = counted.const_data_ptr<bool>();
  const bool* recallable = batch.recallable.defined() ? batch.recallable.const_data_ptr<bool>() : nullptr;
  Row row;
  size_t document = 0;
  for (int64_t t = 1; t < length; ++t) {
    while (document + 1 < starts.size() && starts[document + 1] <= t) ++document;
    if (!counts[t]) continue;
    const auto before = static_cast<size_t>(t - 1);
    const int32_t match = matches.positions[before], match_length = matches.lengths[before];
    row.positions.push_back(t);
    row.tokens.push_back({.document = document,
                          .position = t - starts[document],
                          .is_recallable = recallable != nullptr && recallable[t],
                          .is_copy = match_length >= kMinCopy && ids[match + 1] == ids[t],
                          .distance = t - 1 - match,
                          .length = match_length});
  }
  return row;
}

void add_head_matches(Row& row, const SymbolMatches& heads) {
  for (size_t i = 0; i < row.positions.size(); ++i) {
    const auto before = static_cast<size_t>(row.positions[i] - 1);
    row.tokens[i].head_length = heads.lengths[before];
    row.tokens[i].head_distance = row.positions[i] - 1 - heads.positions[before];
  }
}

// Scores held-out sequences, token by token.
class LanguageScorer {
 public:
  // `source`: whose sequences they are, all in one group; empty: the run's, in groups by what is known of each token.
  LanguageScorer(const SuiteContext& context, const DataSource& data, const std::string& source)
      : context_(context),
        held_out_(context.config, data),
        groups_(context.config.data.sequence_length, context.config.student.sliding_window, has_heads(context)),
        names_(source.empty() ? groups_.names() : std::vector<std::string>{"source " + source}),
        has_groups_(source.empty()) {
    int64_t total = 0;
    for (int64_t sequence = 0; sequence < held_out_.size(); ++sequence) {
      const auto count = static_cast<int64_t>(document_starts(held_out_.batch(sequence, 1)).size());
      num_documents_.push_back(count);
      total += count;
    }
    if (total == held_out_.size() || total > kMaxDocuments) num_documents_.clear();
  }

  const std::vector<std::string>& names() const { return names_; }
  int64_t num_sequences() const { return held_out_.size(); }
  // Of each sequence; empty where there is one in each, or so many that resampling them would take long.
  const std::vector<int64_t>& num_documents() const { return num_documents_; }

  std::vector<ScoreSums> operator()(int64_t sequence) const {
    const at::NoGradGuard no_gradient;
    const Batch batch = held_out_.batch(sequence, 1);
    Row row = describe_row(batch);
    const size_t num_documents =
        num_documents_.empty() ? 1 : static_cast<size_t>(num_documents_[static_cast<size_t>(sequence)]);
    const size_t num_columns = context_.variants.size() * names_.size();
    std::vector<ScoreSums> all(num_documents * num_columns);
    if (row.positions.empty()) return all;
    // Before the scores, since the groups of every variant come from the student's matches.
    std::map<std::string, at::Tensor> hidden;
    for (const char* first : {"teacher", "rosa"}) {
      if (asks_for(context_, first)) hidden[first] = hidden_states(batch, first, row);
    }
    std::vector<std::vector<size_t>> group_lists;
    for (const TokenFacts& token : row.tokens) {
      group_lists.push_back(has_groups_ ? groups_.of(token) : std::vector<size_t>{0});
    }
    const at::Tensor labels = batch.input_ids[0].index_select(0, at::tensor(row.positions, at::kLong));
    const auto teacher = hidden.find("teacher");
    for (size_t v = 0; v < context_.variants.size(); ++v) {
      const std::string& variant = context_.variants[v];
      const auto found = hidden.find(variant);
      const at::Tensor own = found != hidden.end() ? found->second : hidden_states(batch, variant, row);
      TeacherStates of_teacher{.model = context_.parts.teacher()};
      if (teacher != hidden.end()) of_teacher.hidden = teacher->second;
      const TokenScores scores =
          score_tokens(context_.parts.model_of(variant), own, labels, of_teacher, context_.config.loss);
      for (size_t i = 0; i < row.tokens.size(); ++i) {
        const size_t document = num_documents_.empty() ? 0 : row.tokens[i].document;
        for (const size_t group : group_lists[i]) {
          add(scores, i, all[document * num_columns + v * names_.size() + group]);
        }
      }
    }
    return all;
  }

  static bool asks_for(const SuiteContext& context, const std::string& variant) {
    return std::find(context.variants.begin(), context.variants.end(), variant) != context.variants.end();
  }

 private:
  static bool has_heads(const SuiteContext& context) {
    return context.parts.adapters != nullptr && asks_for(context, "rosa");
  }

  // Those that predict the row's tokens. Of the student also the matches of its heads.
  at::Tensor hidden_states(const Batch& batch, const std::string& variant, Row& row) const {
    const RunParts& parts = context_.parts;
    models::ForwardOptions options = variant_options(context_.config, parts, variant);
    if (batch.documents.defined()) options.documents = batch.documents.to(parts.device);
    std::optional<HeadMatches> heads;
    if (has_groups_ && variant == "rosa" && has_heads(context_)) {
      heads.emplace(*parts.adapters, parts.executor, document_starts(batch));
      options.watch_adapter_inputs = [&heads](int64_t layer, const at::Tensor& normed, const at::Tensor& first_input) {
        heads->watch(layer, normed, first_input);
      };
    }
    const at::Tensor before = at::tensor(row.positions, at::kLong).sub(1).to(parts.device);
    const at::Tensor hidden = parts.model_of(variant).hidden_states(batch.input_ids.to(parts.device), options)[0];
    if (heads) add_head_matches(row, heads->best());
    return hidden.index_select(0, before);
  }

  static void add(const TokenScores& scores, size_t i, ScoreSums& sums) {
    sums.num_tokens += 1;
    sums.ce += scores.ce.const_data_ptr<double>()[i];
    sums.num_top1 += scores.top1.const_data_ptr<bool>()[i] ? 1 : 0;
    if (!scores.kl.defined()) return;
    sums.kl += scores.kl.const_data_ptr<double>()[i];
    sums.num_agreeing += scores.agreement.const_data_ptr<bool>()[i] ? 1 : 0;
  }

  SuiteContext context_;
  HeldOutSequences held_out_;
  Groups groups_;
  std::vector<std::string> names_;
  bool has_groups_;
  std::vector<int64_t> num_documents_;
};

SuiteBlock block_of(const SuiteContext& context, const SuiteTask& task, const std::shared_ptr<LanguageScorer>& scorer,
                    const DataSource& data) {
  SuiteBlock block{.task = task.name,
                   .length = context.config.data.sequence_length,
                   .groups = scorer->names(),
                   .variants = context.variants};
  block.has_teacher = LanguageScorer::asks_for(context, "teacher");
  block.bytes_per_token = data.text_bytes_per_token();
  block.num_sequences = scorer->num_sequences();
  block.num_documents = scorer->num_documents();
  block.score = [scorer](int64_t sequence) { return (*scorer)(sequence); };
  return block;
}

void require_same_tokenizer(const SuiteContext& context, const DataSource& own, const DataSourceEntry& source) {
  const int64_t vocab_size = context.parts.model.config().vocab_size;
  base::require<base::ConfigError>(own.vocabulary_size() <= vocab_size, "data.sources: held_out_path of '", source.name,
                                   "' has a vocabulary of ", own.vocabulary_size(),
                                   " tokens, but the model knows only ", vocab_size);
  const auto expected = context.parts.held_out_data.tokenizer(), mark = own.tokenizer();
  const bool is_other = expected && mark && expected->fingerprint != mark->fingerprint;
  base::require<base::ConfigError>(
      !is_other || context.config.data.accept_other_tokenizer, "data.sources: held_out_path of '", source.name,
      "' was packed with another tokenizer than data.held_out_path; pack both with the model's, or set ",
      "data.accept_other_tokenizer: true to take them all the same");
}

}  // namespace

std::vector<SuiteBlock> language_blocks(const SuiteContext& context, const SuiteTask& task) {
  std::vector<SuiteBlock> blocks;
  const DataSource& data = context.parts.held_out_data;
  blocks.push_back(block_of(context, task, std::make_shared<LanguageScorer>(context, data, ""), data));
  for (const DataSourceEntry& source : resolve(context.config.data).sources) {
    if (source.held_out_path.empty()) continue;
    const DataSource& own = context.texts.of_source(source);
    require_same_tokenizer(context, own, source);
    blocks.push_back(block_of(context, task, std::make_shared<LanguageScorer>(context, own, source.name), own));
  }
  return blocks;
}

}  // namespace rosa::training
