#include "training/suite/suite_block.h"

#include <algorithm>
#include <chrono>
#include <numeric>

#include "base/error.h"
#include "training/suite/probes.h"
#include "training/suite/text_forward.h"
#include "training/suite/token_scores.h"

namespace rosa::training {
namespace {

using Clock = std::chrono::steady_clock;

bool is_control(const std::string& variant) { return variant.starts_with("rosa_"); }

int64_t num_sequences_at(const SuiteContext& context, int64_t length, int64_t wanted) {
  const std::optional<int64_t> of_file = context.texts.of_length(length).num_sequences_of_file();
  return of_file ? std::min(*of_file, wanted) : wanted;
}

// The scores of the tokens at `positions` of a text: ascending, each above 0.
TokenScores scores_at(const SuiteContext& context, const std::string& variant, const std::vector<int64_t>& ids,
                      const std::vector<int64_t>& positions, double& state_bytes) {
  std::vector<TokenScores> pieces;
  auto next = positions.begin();
  const int64_t bytes = forward_text(context, variant, ids, [&](int64_t first, const at::Tensor& hidden) {
    const auto end = std::partition_point(next, positions.end(),
                                          [&](int64_t position) { return position - 1 < first + hidden.size(0); });
    const auto count = static_cast<int64_t>(end - next);
    if (count == 0) return;
    at::Tensor rows = at::empty({count}, at::kLong), labels = at::empty({count}, at::kLong);
    for (int64_t i = 0; i < count; ++i, ++next) {
      rows.mutable_data_ptr<int64_t>()[i] = *next - 1 - first;
      labels.mutable_data_ptr<int64_t>()[i] = ids[static_cast<size_t>(*next)];
    }
    pieces.push_back(score_tokens(context.parts.model_of(variant), hidden.index_select(0, rows.to(hidden.device())),
                                  labels, {.model = context.parts.teacher()}, context.config.loss));
  });
  state_bytes = static_cast<double>(bytes);
  std::vector<at::Tensor> ce, top1;
  for (const TokenScores& piece : pieces) {
    ce.push_back(piece.ce);
    top1.push_back(piece.top1);
  }
  return {at::cat(ce).contiguous(), at::cat(top1).contiguous(), {}, {}};
}

ScoreSums score_probe(const SuiteContext& context, const std::string& variant, const Probe& probe) {
  std::vector<int64_t> positions;
  for (const auto& [first, end] : probe.answers) {
    for (int64_t t = first; t < end; ++t) positions.push_back(t);
  }
  ScoreSums sums;
  const TokenScores scores = scores_at(context, variant, probe.ids, positions, sums.state_bytes);
  const double* ce = scores.ce.const_data_ptr<double>();
  const bool* top1 = scores.top1.const_data_ptr<bool>();
  for (const auto& [first, end] : probe.answers) {
    bool is_exact = true;
    for (int64_t t = first; t < end; ++t, ++ce, ++top1) {
      sums.num_tokens += 1;
      sums.ce += *ce;
      sums.num_top1 += *top1 ? 1 : 0;
      is_exact = is_exact && *top1;
    }
    sums.num_answers += 1;
    sums.num_exact += is_exact ? 1 : 0;
  }
  return sums;
}

// The groups by position: the first up to 64, then up to twice as many, and so on.
constexpr int64_t kFirstPositions = 64;

std::vector<int64_t> position_ends(int64_t length) {
  std::vector<int64_t> ends;
  for (int64_t end = kFirstPositions;; end *= 2) {
    ends.push_back(std::min(end, length));
    if (end >= length) return ends;
  }
}

}  // namespace

const DataSource& HeldOutTexts::of_length(int64_t length) {
  std::unique_ptr<DataSource>& source = sources_[length];
  if (source == nullptr) {
    DataConfig data = config_.data;
    data.sequence_length = length;
    data.packed_documents = true;
    data.verify_tokens = false;  // the run has, where it is to
    try {
      source = make_data_source(data, DataSplit::held_out, static_cast<uint64_t>(config_.run.seed), samples_);
    } catch (const base::DataError& error) {
      throw base::DataError(base::concat("the suite asks for sequences of ", length,
                                         " tokens of the held-out data: ", error.what(),
                                         "; take a longer file (--set data.held_out_path=FILE), or a suite with "
                                         "shorter lengths"));
    }
  }
  return *source;
}

const DataSource& HeldOutTexts::of_source(const DataSourceEntry& source) {
  std::unique_ptr<DataSource>& data = of_mixture_[source.held_out_path];
  if (data == nullptr) {
    DataConfig own = config_.data;
    own.held_out_path = source.held_out_path;
    try {
      data = make_data_source(own, DataSplit::held_out, static_cast<uint64_t>(config_.run.seed), samples_);
    } catch (const base::DataError& error) {
      throw base::DataError(base::concat("data.sources: held_out_path of '", source.name, "': ", error.what()));
    }
  }
  return *data;
}

std::vector<int64_t> HeldOutTexts::tokens(int64_t length, int64_t number) {
  const at::Tensor ids = of_length(length).batch(/*step=*/0, number, 1).input_ids.contiguous();
  const int64_t* first = ids.const_data_ptr<int64_t>();
  return {first, first + ids.numel()};
}

std::vector<std::string> variants_at(const SuiteContext& context, int64_t length) {
  const SuiteConfig& suite = context.suite;
  const int64_t controls_max = suite.controls_max > 0 ? suite.controls_max : suite.whole_max;
  std::vector<std::string> variants;
  for (const std::string& variant : context.variants) {
    if (variant == "teacher" && length > context.suite.teacher_max) continue;
    if (is_control(variant) && length > controls_max) continue;
    variants.push_back(variant);
  }
  return variants;
}

std::vector<SuiteBlock> length_blocks(const SuiteContext& context, const SuiteTask& task) {
  std::vector<SuiteBlock> blocks;
  for (const int64_t length : lengths_of(task, context.config.data.sequence_length)) {
    const std::vector<int64_t> ends = position_ends(length);
    SuiteBlock block{.task = task.name, .length = length, .variants = variants_at(context, length)};
    block.num_sequences = num_sequences_at(context, length, task.count);
    block.bytes_per_token = context.texts.of_length(length).text_bytes_per_token();
    for (size_t i = 0; i < ends.size(); ++i) {
      block.groups.push_back(base::concat("position ", i == 0 ? 1 : ends[i - 1], " to ", ends[i] - 1));
    }
    block.score = [context, length, ends, variants = block.variants](int64_t sequence) {
      const std::vector<int64_t> ids = context.texts.tokens(length, sequence);
      std::vector<int64_t> positions(ids.size() - 1);
      std::iota(positions.begin(), positions.end(), 1);
      std::vector<ScoreSums> all;
      for (const std::string& variant : variants) {
        const Clock::time_point start = Clock::now();
        ScoreSums total;
        const TokenScores scores = scores_at(context, variant, ids, positions, total.state_bytes);
        total.seconds = std::chrono::duration<double>(Clock::now() - start).count();
        std::vector<ScoreSums> groups(ends.size());
        size_t group = 0;
        for (int64_t t = 1; t < length; ++t) {
          while (t >= ends[group]) ++group;
          const double ce = scores.ce.const_data_ptr<double>()[t - 1];
          const double top1 = scores.top1.const_data_ptr<bool>()[t - 1] ? 1 : 0;
          for (ScoreSums* sums : {&total, &groups[group]}) {
            sums->num_tokens += 1;
            sums->ce += ce;
            sums->num_top1 += top1;
          }
        }
        all.push_back(total);
        all.insert(all.end(), groups.begin(), groups.end());
      }
      return all;
    };
    blocks.push_back(std::move(block));
  }
  return blocks;
}

std::vector<SuiteBlock> probe_blocks(const SuiteContext& context, const SuiteTask& task) {
  std::vector<SuiteBlock> blocks;
  for (const int64_t length : lengths_of(task, context.config.data.sequence_length)) {
    std::vector<std::optional<int64_t>> depths = {std::nullopt};
    if (task.task == SuiteTaskKind::needle) depths.assign(task.depths.begin(), task.depths.end());
    for (const std::optional<int64_t> depth : depths) {
      SuiteBlock block{.task = task.name, .length = length, .depth = depth, .variants = variants_at(context, length)};
      block.num_sequences = task.count;
      context.texts.of_length(length);  // a text that is too short is told before anything is scored
      block.score = [context, task, length, depth, variants = block.variants](int64_t sequence) {
        const std::vector<int64_t> text = context.texts.tokens(length, sequence);
        const Probe probe =
            make_probe(task, static_cast<uint64_t>(context.suite.seed), length, depth.value_or(0), sequence, text);
        std::vector<ScoreSums> all;
        for (const std::string& variant : variants) all.push_back(score_probe(context, variant, probe));
        return all;
      };
      blocks.push_back(std::move(block));
    }
  }
  return blocks;
}

}  // namespace rosa::training
