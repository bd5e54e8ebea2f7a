// The task `language`: held-out sequences as the training sees them, by what is known of each token.
#include <algorithm>
#include <bit>

#include "base/error.h"
#include "training/suite/suite_block.h"
#include "training/suite/symbol_matches.h"
#include "training/suite/token_scores.h"

namespace rosa::training {
namespace {

// A copy: the latest earlier place with at least so many equal tokens behind it, and the same token after it.
constexpr int32_t kMinCopy = 4;
constexpr int kNumMatchLengths = 6;  // none, 1, 2-3, 4-7, 8-15, 16 and more tokens
constexpr int64_t kFirstPositions = 64;
constexpr int64_t kFirstDistance = 64;

int doublings(int64_t number, int64_t first, int most) {
  int result = 0;
  while (number >= first && result < most) {
    first *= 2;
    ++result;
  }
  return result;
}

// The groups of tokens, by name; a token is in several.
class Groups {
 public:
  Groups(int64_t length, int64_t window) : window_(window) {
    names_ = {"all", "recallable", "copied within the window", "copied from beyond the window", "not copied"};
    first_position_ = names_.size();
    add_ranges("position", kFirstPositions, length, num_positions_);
    first_match_ = names_.size();
    names_.insert(names_.end(), {"no match", "match of 1", "match of 2 to 3", "match of 4 to 7", "match of 8 to 15",
                                 "match of 16 or more"});
    first_distance_ = names_.size();
    add_ranges("match at distance", kFirstDistance, length, num_distances_);
  }

  const std::vector<std::string>& names() const { return names_; }

  // Those of token t of a row; `match`: the longest earlier match of the tokens up to t - 1.
  std::vector<size_t> of(const int64_t* ids, int64_t t, int64_t position, int32_t match, int32_t length,
                         bool is_recallable) const {
    std::vector<size_t> groups = {0};
    if (is_recallable) groups.push_back(1);
    const int64_t distance = t - 1 - match;
    const bool is_copy = length >= kMinCopy && ids[match + 1] == ids[t];
    groups.push_back(!is_copy ? 4 : distance < window_ ? 2 : 3);
    groups.push_back(first_position_ + static_cast<size_t>(doublings(position, kFirstPositions, num_positions_ - 1)));
    groups.push_back(first_match_ +
                     static_cast<size_t>(std::min(static_cast<int>(std::bit_width(static_cast<uint32_t>(length))),
                                                  kNumMatchLengths - 1)));
    if (length > 0) {
      groups.push_back(first_distance_ + static_cast<size_t>(doublings(distance, kFirstDistance, num_distances_ - 1)));
    }
    return groups;
  }

 private:
  void add_ranges(const char* what, int64_t first, int64_t length, int& num) {
    for (int64_t begin = 1, end = first;; begin = end, end *= 2) {
      names_.push_back(base::concat(what, " ", begin, " to ", std::min(end, length) - 1));
      ++num;
      if (end >= length) return;
    }
  }

  int64_t window_;
  std::vector<std::string> names_;
  size_t first_position_ = 0, first_match_ = 0, first_distance_ = 0;
  int num_positions_ = 0, num_distances_ = 0;
};

// What is known of the tokens of one sequence.
struct Row {
  std::vector<int64_t> positions;                // t of the tokens that count
  std::vector<std::vector<size_t>> group_lists;  // of each
};

Row describe_row(const Batch& batch, const Groups& groups) {
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
    row.positions.push_back(t);
    row.group_lists.push_back(groups.of(ids, t, t - starts[document], matches.positions[before],
                                        matches.lengths[before], recallable != nullptr && recallable[t]));
  }
  return row;
}

}  // namespace

std::vector<SuiteBlock> language_blocks(const SuiteContext& context, const SuiteTask& task) {
  const auto held_out = std::make_shared<HeldOutSequences>(context.config, context.parts.held_out_data);
  const int64_t length = context.config.data.sequence_length;
  const auto groups = std::make_shared<Groups>(length, context.config.student.sliding_window);
  const std::vector<std::string> variants = context.variants;
  const auto has_teacher = std::find(variants.begin(), variants.end(), "teacher") != variants.end();
  SuiteBlock block{.task = task.name, .length = length, .groups = groups->names(), .variants = variants};
  block.has_teacher = has_teacher;
  block.bytes_per_token = context.parts.held_out_data.text_bytes_per_token();
  block.num_sequences = held_out->size();
  block.score = [context, held_out, groups, variants, has_teacher](int64_t sequence) {
    const at::NoGradGuard no_gradient;
    const RunParts& parts = context.parts;
    const Batch batch = held_out->batch(sequence, 1);
    const Row row = describe_row(batch, *groups);
    std::vector<ScoreSums> all(variants.size() * groups->names().size());
    if (row.positions.empty()) return all;
    const at::Tensor positions = at::tensor(row.positions, at::kLong);
    const at::Tensor labels = batch.input_ids[0].index_select(0, positions);
    const auto hidden_of = [&](const std::string& variant) {
      models::ForwardOptions options = variant_options(context.config, parts, variant);
      if (batch.documents.defined()) options.documents = batch.documents.to(parts.device);
      return parts.model.hidden_states(batch.input_ids.to(parts.device), options)[0].index_select(
          0, positions.sub(1).to(parts.device));
    };
    const at::Tensor teacher = has_teacher ? hidden_of("teacher") : at::Tensor();
    for (size_t v = 0; v < variants.size(); ++v) {
      const at::Tensor hidden = variants[v] == "teacher" ? teacher : hidden_of(variants[v]);
      const TokenScores scores = score_tokens(parts.model, hidden, labels, teacher, context.config.loss.chunk_tokens);
      for (size_t i = 0; i < row.positions.size(); ++i) {
        for (const size_t group : row.group_lists[i]) {
          ScoreSums& sums = all[v * groups->names().size() + group];
          sums.num_tokens += 1;
          sums.ce += scores.ce.const_data_ptr<double>()[i];
          sums.num_top1 += scores.top1.const_data_ptr<bool>()[i] ? 1 : 0;
          if (!has_teacher) continue;
          sums.kl += scores.kl.const_data_ptr<double>()[i];
          sums.num_agreeing += scores.agreement.const_data_ptr<bool>()[i] ? 1 : 0;
        }
      }
    }
    return all;
  };
  return {block};
}

}  // namespace rosa::training
