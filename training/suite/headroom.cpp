#include "training/suite/headroom.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/formatted.h"
#include "base/random.h"
#include "models/causal_model.h"
#include "rosa/operator/symbols.h"
#include "training/evaluation.h"
#include "training/suite/symbol_matches.h"
#include "training/suite/token_scores.h"

namespace rosa::training {
namespace {

constexpr uint64_t kStreamOfHashes = 0x68617368;

size_t length_class(int32_t length) {
  if (length <= 1) return static_cast<size_t>(length);
  const auto doublings = static_cast<size_t>(std::bit_width(static_cast<uint32_t>(length - 1)));
  return std::min(doublings + 1, MixtureWeights::kNumLengths - 1);
}

// Random directions, [heads * bits, hidden]: a pure function of seed and layer.
at::Tensor directions(const HeadroomConfig& config, int64_t layer, int64_t hidden_size) {
  at::Tensor all = at::empty({config.hash_heads * config.hash_bits, hidden_size}, at::kFloat);
  base::RandomStream random({.seed = config.seed, .layer = kStreamOfHashes + static_cast<uint64_t>(layer)});
  float* values = all.mutable_data_ptr<float>();
  for (int64_t i = 0; i < all.numel(); ++i) values[i] = static_cast<float>(random.normal());
  return all;
}

// One sequence: what both models make of its tokens, and what each copier would say.
class SequenceScorer {
 public:
  SequenceScorer(const HeadroomConfig& config, const RunConfig& run, const RunParts& parts)
      : config_(config), run_(run), parts_(parts) {
    const models::ModelConfig& shape = parts.model.config();
    for (int64_t layer = 0; layer < shape.num_hidden_layers; ++layer) {
      directions_.push_back(directions(config, layer, shape.hidden_size).to(parts.device));
    }
  }

  size_t num_copiers() const { return directions_.size() + 1; }

  struct Result {
    std::vector<double> teacher_ce, window_ce;      // of the tokens that count
    std::vector<std::vector<CopiedToken>> copiers;  // [copier][token]
  };

  Result score(const Batch& batch) const {
    const at::NoGradGuard no_gradient;
    const at::Tensor ids = batch.input_ids;
    const int64_t length = ids.size(1);
    const at::Tensor counted = counted_tokens(batch)[0].nonzero().squeeze(1).contiguous();
    Result result;
    result.copiers.resize(num_copiers());
    if (counted.numel() == 0) return result;
    std::vector<SymbolMatches> matches = {match_tokens(batch)};
    const at::Tensor window = hidden_states("window", batch, &matches), teacher = hidden_states("teacher", batch);
    const at::Tensor before = counted.sub(1).to(parts_.device);
    const at::Tensor labels = ids[0].index_select(0, counted).to(parts_.device);
    const auto scores_of = [&](const std::string& variant, const at::Tensor& hidden) {
      const models::CausalModel& model = parts_.model_of(variant);
      return score_tokens(model, hidden.index_select(0, before), labels, {.model = model}, run_.loss).ce.contiguous();
    };
    const at::Tensor teacher_ce = scores_of("teacher", teacher), window_ce = scores_of("window", window);
    result.teacher_ce.assign(teacher_ce.const_data_ptr<double>(),
                             teacher_ce.const_data_ptr<double>() + counted.numel());
    result.window_ce.assign(window_ce.const_data_ptr<double>(), window_ce.const_data_ptr<double>() + counted.numel());
    const int64_t* tokens = ids.const_data_ptr<int64_t>();
    base::require(length == ids.numel(), "headroom scores one sequence at a time");
    for (size_t copier = 0; copier < matches.size(); ++copier) {
      for (int64_t i = 0; i < counted.numel(); ++i) {
        const int64_t t = counted.const_data_ptr<int64_t>()[i];
        const auto at = static_cast<size_t>(t - 1);
        const int32_t found = matches[copier].lengths[at];
        result.copiers[copier].push_back(
            {.probability = std::exp(-result.window_ce[static_cast<size_t>(i)]),
             .match_length = found,
             .is_right = found > 0 && tokens[matches[copier].positions[at] + 1] == tokens[t]});
      }
    }
    return result;
  }

 private:
  // Of the hashes of one layer's input, [T,hidden].
  SymbolMatches match_hashes(int64_t layer, const at::Tensor& input, const std::vector<int32_t>& starts) const {
    const at::Tensor projected = at::matmul(input.to(at::kFloat), directions_[static_cast<size_t>(layer)].t());
    const at::Tensor logits = projected.view({input.size(0), config_.hash_heads, config_.hash_bits}).transpose(0, 1);
    const at::Tensor symbols = pack_symbols(logits.unsqueeze(0).contiguous())[0].to(at::kLong).cpu().contiguous();
    SymbolMatches best;
    for (int64_t head = 0; head < config_.hash_heads; ++head) {
      const int64_t* first = symbols[head].const_data_ptr<int64_t>();
      take_longer(best, match_symbols(std::vector<uint64_t>(first, first + input.size(0)), starts));
    }
    return best;
  }

  // [T,hidden]. Adds the matches of every layer's input to `matches`, where it is given.
  at::Tensor hidden_states(const std::string& variant, const Batch& batch,
                           std::vector<SymbolMatches>* matches = nullptr) const {
    models::ForwardOptions options = variant_options(run_, parts_, variant);
    if (batch.documents.defined()) options.documents = batch.documents.to(parts_.device);
    if (matches != nullptr) {
      const std::vector<int32_t> starts = document_starts(batch);
      options.replace_layer_input = [this, starts, matches](int64_t layer, const at::Tensor& hidden) {
        if (layer < std::ssize(directions_)) {
          matches->push_back(match_hashes(layer, parts_.model.input_norm(layer, hidden)[0], starts));
        }
        return hidden;
      };
    }
    return parts_.model_of(variant).hidden_states(batch.input_ids.to(parts_.device), options)[0];
  }

  const HeadroomConfig config_;
  const RunConfig& run_;
  const RunParts& parts_;
  std::vector<at::Tensor> directions_;
};

// Sums of one sequence of the second half.
struct SequenceCe {
  double teacher = 0.0, window = 0.0, count = 0.0;
  std::vector<double> mixed;  // of each copier
};

double weighted(const std::vector<SequenceCe>& sequences, std::span<const double> counts,
                const std::function<double(const SequenceCe&)>& sum_of) {
  double sum = 0.0, count = 0.0;
  for (size_t i = 0; i < sequences.size(); ++i) {
    const double times = counts.empty() ? 1.0 : counts[i];
    sum += times * sum_of(sequences[i]);
    count += times * sequences[i].count;
  }
  return count > 0 ? sum / count : 0.0;
}

std::string copier_name(size_t copier) { return copier == 0 ? "tokens" : base::concat("layer ", copier - 1); }

CopierHeadroom headroom_of(size_t copier, const std::vector<SequenceCe>& sequences, const Bootstrap& bootstrap) {
  const auto mean = [&](std::span<const double> counts, const auto& sum_of) {
    return weighted(sequences, counts, sum_of);
  };
  const auto teacher = [](const SequenceCe& one) { return one.teacher; };
  const auto window = [](const SequenceCe& one) { return one.window; };
  const auto mixed = [copier](const SequenceCe& one) { return one.mixed[copier]; };
  const auto gap_of = [&](std::span<const double> counts) -> std::optional<double> {
    return mean(counts, window) - mean(counts, teacher);
  };
  const auto closed_of = [&](std::span<const double> counts) -> std::optional<double> {
    return (mean(counts, window) - mean(counts, mixed)) / *gap_of(counts);
  };
  CopierHeadroom result{.name = copier_name(copier), .ce = mean({}, mixed)};
  const std::optional<Interval> gap = bootstrap.interval(gap_of);
  if (*gap_of({}) > kLeastGap && (!gap || gap->low > kLeastGap)) {
    result.closed = closed_of({});
    result.interval = bootstrap.interval(closed_of);
  }
  return result;
}

}  // namespace

MixtureWeights MixtureWeights::fitted(std::span<const CopiedToken> tokens) {
  constexpr int kNumIterations = 100;
  MixtureWeights weights;
  std::array<double, kNumLengths> numbers{};
  for (const CopiedToken& token : tokens) numbers[length_class(token.match_length)] += 1.0;
  for (size_t i = 1; i < kNumLengths; ++i) weights.values_[i] = numbers[i] > 0 ? 0.5 : 0.0;
  for (int iteration = 0; iteration < kNumIterations; ++iteration) {
    std::array<double, kNumLengths> sums{};
    for (const CopiedToken& token : tokens) {
      if (!token.is_right) continue;
      const size_t length = length_class(token.match_length);
      const double weight = weights.values_[length];
      sums[length] += weight / (weight + (1 - weight) * token.probability);
    }
    // Never all of the mixture: a copier that was always right so far may be wrong next time.
    for (size_t i = 1; i < kNumLengths; ++i) weights.values_[i] = sums[i] / (numbers[i] + 1.0);
  }
  return weights;
}

double MixtureWeights::cross_entropy(const CopiedToken& token) const {
  const double weight = values_[length_class(token.match_length)];
  return -std::log((1 - weight) * token.probability + (token.is_right ? weight : 0.0));
}

Headroom measure_headroom(const HeadroomConfig& config, const RunConfig& run, const RunParts& parts,
                          const HeadroomProgress& progress) {
  base::require(config.hash_bits >= 1 && config.hash_bits <= 63 && config.hash_heads >= 1, "headroom: got ",
                config.hash_heads, " heads of ", config.hash_bits, " bits; expected 1 or more of 1 to 63");
  const DataSource& data = parts.held_out_data;
  const int64_t available = data.num_sequences_of_file().value_or(config.num_sequences);
  const int64_t num = std::min(config.num_sequences, available);
  base::require<base::DataError>(num >= 2, "the data makes ", num, " sequences; at least 2 are needed, one to fit and ",
                                 "one to score: take a longer file, or shorter sequences");
  const SequenceScorer scorer(config, run, parts);
  const int64_t num_fitted = num / 2;
  std::vector<std::vector<CopiedToken>> fitted_on(scorer.num_copiers());
  std::vector<MixtureWeights> weights;
  std::vector<SequenceCe> sequences;
  std::vector<double> num_matched(scorer.num_copiers()), num_right(scorer.num_copiers());
  double count = 0.0;
  for (int64_t i = 0; i < num; ++i) {
    if (i == num_fitted) {
      for (const auto& tokens : fitted_on) weights.push_back(MixtureWeights::fitted(tokens));
    }
    const SequenceScorer::Result result = scorer.score(data.batch(/*step=*/0, i, 1));
    if (progress) progress(i + 1, num);
    if (i < num_fitted) {
      for (size_t copier = 0; copier < fitted_on.size(); ++copier) {
        fitted_on[copier].insert(fitted_on[copier].end(), result.copiers[copier].begin(), result.copiers[copier].end());
      }
      continue;
    }
    SequenceCe sums;
    sums.mixed.resize(scorer.num_copiers());
    sums.count = static_cast<double>(result.window_ce.size());
    count += sums.count;
    for (const double ce : result.teacher_ce) sums.teacher += ce;
    for (const double ce : result.window_ce) sums.window += ce;
    for (size_t copier = 0; copier < weights.size(); ++copier) {
      for (const CopiedToken& token : result.copiers[copier]) {
        sums.mixed[copier] += weights[copier].cross_entropy(token);
        num_matched[copier] += token.match_length > 0 ? 1 : 0;
        num_right[copier] += token.is_right ? 1 : 0;
      }
    }
    sequences.push_back(std::move(sums));
  }
  base::require<base::DataError>(count > 0, "none of the ", num, " sequences has a token with another one of its ",
                                 "document before it; take longer documents");
  const Bootstrap bootstrap(static_cast<int64_t>(sequences.size()), /*num_resamples=*/1000, config.seed);
  Headroom headroom{.teacher_ce = weighted(sequences, {}, [](const SequenceCe& one) { return one.teacher; }),
                    .window_ce = weighted(sequences, {}, [](const SequenceCe& one) { return one.window; }),
                    .num_tokens = static_cast<int64_t>(count),
                    .num_sequences = static_cast<int64_t>(sequences.size()),
                    .copiers = {}};
  base::require<base::NumericError>(std::isfinite(headroom.teacher_ce) && std::isfinite(headroom.window_ce),
                                    "the cross-entropy is not finite: teacher ", headroom.teacher_ce, ", window ",
                                    headroom.window_ce, "; do model and data belong together?");
  for (size_t copier = 0; copier < scorer.num_copiers(); ++copier) {
    CopierHeadroom one = headroom_of(copier, sequences, bootstrap);
    one.matched_share = num_matched[copier] / count;
    one.right_share = num_matched[copier] > 0 ? num_right[copier] / num_matched[copier] : 0.0;
    headroom.copiers.push_back(std::move(one));
  }
  return headroom;
}

std::string headroom_table(const Headroom& headroom) {
  std::string text = base::formatted(
      "teacher %.4f, window only %.4f nats a token, over %lld tokens of %lld sequences\n\n", headroom.teacher_ce,
      headroom.window_ce, static_cast<long long>(headroom.num_tokens), static_cast<long long>(headroom.num_sequences));
  text +=
      base::formatted("%-10s %8s %26s %9s %7s\n", "copier of", "ce", "gap closed [95 % interval]", "matched", "right");
  for (const CopierHeadroom& copier : headroom.copiers) {
    std::string closed = "n/a";
    if (copier.closed) closed = base::formatted("%.3f", *copier.closed);
    if (copier.interval) closed += base::formatted(" [%.3f, %.3f]", copier.interval->low, copier.interval->high);
    text += base::formatted("%-10s %8.4f %26s %8.1f%% %6.1f%%\n", copier.name.c_str(), copier.ce, closed.c_str(),
                            100 * copier.matched_share, 100 * copier.right_share);
  }
  return text;
}

nlohmann::ordered_json headroom_json(const Headroom& headroom) {
  nlohmann::ordered_json json = {{"teacher", {{"ce", headroom.teacher_ce}}},
                                 {"window", {{"ce", headroom.window_ce}}},
                                 {"num_tokens", headroom.num_tokens},
                                 {"num_sequences", headroom.num_sequences},
                                 {"copiers", nlohmann::ordered_json::array()}};
  for (const CopierHeadroom& copier : headroom.copiers) {
    nlohmann::ordered_json one = {{"copier", copier.name},
                                  {"ce", copier.ce},
                                  {"gap_closed", nullptr},
                                  {"low", nullptr},
                                  {"high", nullptr},
                                  {"matched_share", copier.matched_share},
                                  {"right_share", copier.right_share}};
    if (copier.closed) one["gap_closed"] = *copier.closed;
    if (copier.interval) {
      one["low"] = copier.interval->low;
      one["high"] = copier.interval->high;
    }
    json["copiers"].push_back(std::move(one));
  }
  return json;
}

}  // namespace rosa::training
