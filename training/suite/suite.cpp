#include "training/suite/suite.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "training/suite/suite_block.h"

namespace rosa::training {
namespace {

// The sums of one variant and group, by document.
using Column = std::vector<ScoreSums>;

void put(const ScoreSums& sums, double* numbers) {
  const double values[] = {sums.num_tokens,  sums.ce,        sums.num_top1, sums.kl,         sums.num_agreeing,
                           sums.num_answers, sums.num_exact, sums.seconds,  sums.state_bytes};
  static_assert(std::size(values) == ScoreSums::kSize);
  std::copy(std::begin(values), std::end(values), numbers);
}

ScoreSums get(const double* n) { return {n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7], n[8]}; }

// sum(numerator) / sum(denominator) over the drawn documents.
std::optional<double> ratio(const Column& column, std::span<const double> counts, double ScoreSums::*numerator,
                            double ScoreSums::*denominator) {
  double sum = 0.0, count = 0.0;
  for (size_t i = 0; i < column.size(); ++i) {
    const double times = counts.empty() ? 1.0 : counts[i];
    sum += times * (column[i].*numerator);
    count += times * (column[i].*denominator);
  }
  if (count == 0.0) return std::nullopt;
  return sum / count;
}

// The sequence of each document of a block.
std::vector<int64_t> sequences_of(const SuiteBlock& block) {
  std::vector<int64_t> sequences;
  for (int64_t sequence = 0; sequence < block.num_sequences; ++sequence) {
    const int64_t count = block.num_documents.empty() ? 1 : block.num_documents[static_cast<size_t>(sequence)];
    sequences.insert(sequences.end(), static_cast<size_t>(count), sequence);
  }
  return sequences;
}

class RowMaker {
 public:
  // `entries`: [document][variant][group][number].
  RowMaker(const SuiteBlock& block, const SuiteConfig& suite, std::vector<double> entries)
      : block_(block),
        entries_(std::move(entries)),
        sequences_(sequences_of(block)),
        bootstrap_(static_cast<int64_t>(sequences_.size()), suite.num_resamples, static_cast<uint64_t>(suite.seed)) {}

  void add_rows(std::vector<SuiteRow>& rows) {
    for (size_t group = 0; group < block_.groups.size(); ++group) {
      columns_.clear();
      for (size_t v = 0; v < block_.variants.size(); ++v) columns_.push_back(column(v, group));
      for (size_t v = 0; v < block_.variants.size(); ++v) {
        SuiteRow row = make_row(v, group);
        if (row.num_tokens > 0) rows.push_back(std::move(row));
      }
    }
  }

 private:
  Column column(size_t variant, size_t group) const {
    Column result;
    const size_t num_columns = block_.variants.size() * block_.groups.size();
    for (size_t document = 0; document < sequences_.size(); ++document) {
      const size_t at = document * num_columns + variant * block_.groups.size() + group;
      result.push_back(get(entries_.data() + at * ScoreSums::kSize));
    }
    return result;
  }

  using Formula = std::function<std::optional<double>(std::span<const double> counts)>;

  void add(SuiteRow& row, const char* name, const Formula& formula) const {
    if (const std::optional<double> value = formula({})) {
      row.figures.push_back({name, *value, bootstrap_.interval(formula)});
    }
  }

  void add_ratio(SuiteRow& row, const char* name, const Column& column, double ScoreSums::*numerator,
                 double ScoreSums::*denominator) const {
    add(row, name, [&](std::span<const double> counts) { return ratio(column, counts, numerator, denominator); });
  }

  SuiteRow make_row(size_t v, size_t group) const {
    const Column& own = columns_[v];
    SuiteRow row{.task = block_.task,
                 .group = block_.groups[group],
                 .variant = block_.variants[v],
                 .length = block_.length,
                 .depth = block_.depth};
    ScoreSums total;
    int64_t last_sequence = -1;
    for (size_t document = 0; document < own.size(); ++document) {
      const ScoreSums& sums = own[document];
      row.num_tokens += static_cast<int64_t>(sums.num_tokens);
      row.num_answers += static_cast<int64_t>(sums.num_answers);
      if (sums.num_tokens > 0) {
        row.num_documents += 1;
        row.num_sequences += sequences_[document] != last_sequence ? 1 : 0;
        last_sequence = sequences_[document];
      }
      total.seconds += sums.seconds;
      total.state_bytes += sums.state_bytes;
    }
    if (row.num_answers > 0) add_ratio(row, "exact", own, &ScoreSums::num_exact, &ScoreSums::num_answers);
    add_ratio(row, "ce", own, &ScoreSums::ce, &ScoreSums::num_tokens);
    if (row.num_answers == 0) {
      add(row, "perplexity", [&](std::span<const double> counts) -> std::optional<double> {
        const auto ce = ratio(own, counts, &ScoreSums::ce, &ScoreSums::num_tokens);
        return ce ? std::optional(std::exp(*ce)) : std::nullopt;
      });
    }
    if (block_.bytes_per_token && row.group == "all") {
      const double bits = 1.0 / (std::log(2.0) * *block_.bytes_per_token);
      add(row, "bits_per_byte", [&](std::span<const double> counts) -> std::optional<double> {
        const auto ce = ratio(own, counts, &ScoreSums::ce, &ScoreSums::num_tokens);
        return ce ? std::optional(*ce * bits) : std::nullopt;
      });
    }
    add_ratio(row, "top1", own, &ScoreSums::num_top1, &ScoreSums::num_tokens);
    if (block_.has_teacher && row.variant != "teacher") {
      add_ratio(row, "kl", own, &ScoreSums::kl, &ScoreSums::num_tokens);
      add_ratio(row, "agreement", own, &ScoreSums::num_agreeing, &ScoreSums::num_tokens);
    }
    add_gap_closed(row, own);
    const auto num_read = static_cast<double>(block_.length * block_.num_sequences);
    if (total.seconds > 0) row.figures.push_back({"us_per_token", 1e6 * total.seconds / num_read});
    if (total.state_bytes > 0) row.figures.push_back({"state_bytes_per_token", total.state_bytes / num_read});
    return row;
  }

  const Column* find(const char* variant) const {
    const auto found = std::find(block_.variants.begin(), block_.variants.end(), variant);
    return found == block_.variants.end() ? nullptr : &columns_[static_cast<size_t>(found - block_.variants.begin())];
  }

  // Only where the gap itself is clear: a ratio to a gap that is chance says nothing.
  void add_gap_closed(SuiteRow& row, const Column& own) const {
    const Column* teacher = find("teacher");
    const Column* window = find("window");
    if (teacher == nullptr || window == nullptr || row.variant == "teacher" || row.variant == "window") return;
    const auto ce = [](const Column& column, std::span<const double> counts) {
      return ratio(column, counts, &ScoreSums::ce, &ScoreSums::num_tokens).value_or(0.0);
    };
    const auto gap = bootstrap_.interval([&](std::span<const double> counts) -> std::optional<double> {
      return ce(*window, counts) - ce(*teacher, counts);
    });
    if (!gap || gap->low < kLeastGap) return;
    add(row, "gap_closed", [&](std::span<const double> counts) -> std::optional<double> {
      return (ce(*window, counts) - ce(own, counts)) / (ce(*window, counts) - ce(*teacher, counts));
    });
  }

  const SuiteBlock& block_;
  std::vector<double> entries_;
  std::vector<int64_t> sequences_;
  Bootstrap bootstrap_;
  std::vector<Column> columns_;
};

std::vector<SuiteBlock> blocks_of(const SuiteContext& context) {
  std::vector<SuiteBlock> blocks;
  for (SuiteTask task : context.suite.tasks) {
    if (task.name.empty()) task.name = task_name(task.task);
    std::vector<SuiteBlock> more;
    if (task.task == SuiteTaskKind::language) {
      more = language_blocks(context, task);
    } else if (task.task == SuiteTaskKind::length) {
      more = length_blocks(context, task);
    } else {
      more = probe_blocks(context, task);
    }
    for (SuiteBlock& block : more) {
      if (!block.variants.empty()) blocks.push_back(std::move(block));
    }
  }
  return blocks;
}

bool any_rank_stops(parallel::Communicator& communicator, const std::function<bool()>& stop_requested) {
  if (!stop_requested) return false;
  const std::vector<int64_t> own = {stop_requested() ? 1 : 0};
  return communicator.all_reduce_values(own, parallel::Reduction::max).front() != 0;
}

void require_finite(const SuiteResult& result) {
  for (const SuiteRow& row : result.rows) {
    const SuiteFigure* ce = row.figure("ce");
    base::require<base::NumericError>(ce == nullptr || std::isfinite(ce->value), "the cross-entropy of '", row.variant,
                                      "' in the task '", row.task, "' at length ", row.length,
                                      " is not finite: 'rosa eval' without --suite looks for the weight it comes from");
  }
}

}  // namespace

const SuiteFigure* SuiteRow::figure(const std::string& name) const {
  const auto found =
      std::find_if(figures.begin(), figures.end(), [&](const auto& entry) { return entry.name == name; });
  return found == figures.end() ? nullptr : &*found;
}

std::vector<std::string> suite_figure_names(const SuiteConfig& suite) {
  std::vector<std::string> names;
  for (const SuiteTask& task : suite.tasks) {
    const bool has_answers = task.task != SuiteTaskKind::language && task.task != SuiteTaskKind::length;
    const std::string name = task.name.empty() ? task_name(task.task) : task.name;
    for (const char* figure : {has_answers ? "exact" : "perplexity", "ce", "top1"}) {
      names.push_back(base::concat(name, "/", figure));
    }
  }
  return names;
}

void check_suite_texts(const SuiteConfig& suite, const RunConfig& config) {
  HeldOutTexts texts(config, /*samples_per_step=*/1);
  for (const SuiteTask& task : suite.tasks) {
    if (task.task == SuiteTaskKind::language) {
      for (const DataSourceEntry& source : resolve(config.data).sources) {
        if (!source.held_out_path.empty()) texts.of_source(source);
      }
      continue;
    }
    for (const int64_t length : lengths_of(task, config.data.sequence_length)) texts.of_length(length);
  }
}

void add_to(EvaluationMetrics& evaluation, const SuiteResult& result, const std::string& variant) {
  SuiteResult of_variant{.variants = {variant}, .rows = {}};
  std::map<std::string, std::pair<double, double>> sums;  // and their numbers
  for (const SuiteRow& row : result.rows) {
    if (row.variant != variant) continue;
    of_variant.rows.push_back(row);
    if (row.group != "all") continue;
    for (const char* name : {"exact", "perplexity", "ce", "top1"}) {
      const SuiteFigure* figure = row.figure(name);
      if (figure == nullptr) continue;
      auto& [sum, count] = sums[base::concat(row.task, "/", name)];
      sum += figure->value;
      count += 1;
    }
  }
  for (const auto& [name, sum] : sums) evaluation.suite[name] = sum.first / sum.second;
  evaluation.suite_rows = suite_json(of_variant)["rows"].dump();
}

SuiteResult run_suite(const SuiteConfig& suite, const RunConfig& config, const RunParts& parts,
                      const std::vector<std::string>& variants, const SuiteProgress& progress,
                      const std::function<bool()>& stop_requested) {
  base::require_good(suite);
  HeldOutTexts texts(config, config.train.micro_batches * config.train.micro_batch_sequences);
  const int64_t rank = parts.communicator.rank(), world_size = parts.communicator.world_size();
  SuitePlace place;
  const auto tell = [&] {
    if (progress && rank == 0) progress(place);
  };
  const auto on_piece = [&](const std::string& variant, int64_t num_tokens_done, int64_t num_tokens) {
    place.variant = variant;
    place.num_tokens_done = num_tokens_done;
    place.num_tokens = num_tokens;
    tell();
  };
  const SuiteContext context{suite, config, parts, variants, texts, on_piece};
  // All are made first: what can't be asked of this text is told before the work.
  const std::vector<SuiteBlock> blocks = blocks_of(context);
  for (const SuiteBlock& block : blocks) place.total += block.num_sequences;
  SuiteResult result{.variants = variants, .rows = {}};
  for (const SuiteBlock& block : blocks) {
    place.task = block.task;
    const size_t size = block.variants.size() * block.groups.size() * ScoreSums::kSize;
    const std::vector<int64_t> sequences = sequences_of(block);
    std::vector<double> entries(sequences.size() * size, 0.0);
    for (int64_t first = 0; first < block.num_sequences; first += world_size) {
      if (any_rank_stops(parts.communicator, stop_requested)) {
        result.is_complete = false;
        return result;
      }
      const int64_t sequence = first + rank;
      if (sequence < block.num_sequences) {
        const std::vector<ScoreSums> sums = block.score(sequence);
        const auto document = std::lower_bound(sequences.begin(), sequences.end(), sequence) - sequences.begin();
        double* numbers = entries.data() + static_cast<size_t>(document) * size;
        for (size_t i = 0; i < sums.size(); ++i) put(sums[i], numbers + i * ScoreSums::kSize);
      }
      place.done += std::min(world_size, block.num_sequences - first);
      place.num_tokens = 0;
      tell();
    }
    // Each entry is of one rank, so that the sum is exact.
    RowMaker(block, suite, parts.communicator.all_reduce_values(entries, parallel::Reduction::sum))
        .add_rows(result.rows);
  }
  base::require<base::DataError>(!result.rows.empty(), "the suite has nothing to score in the held-out data '",
                                 config.data.held_out_path, "'");
  require_finite(result);
  return result;
}

}  // namespace rosa::training
