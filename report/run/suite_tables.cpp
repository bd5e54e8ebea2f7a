#include "report/run/suite_tables.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/error.h"
#include "report/numbers.h"

namespace rosa::report {
namespace {

using base::concat;

// The number that stands before `end`, without what is before it.
std::optional<double> number_before(std::string_view text) {
  std::size_t begin = text.size();
  while (begin > 0 && text[begin - 1] >= '0' && text[begin - 1] <= '9') --begin;
  int64_t number = 0;
  const auto parsed = std::from_chars(text.data() + begin, text.data() + text.size(), number);
  if (begin == text.size() || parsed.ec != std::errc()) return std::nullopt;
  return static_cast<double>(number);
}

// "16", or "16 to 64" where the lines stand on different numbers of them.
std::string counts_text(const std::set<int64_t>& counts) {
  if (counts.empty()) return "";
  const std::string least = fixed(static_cast<double>(*counts.begin()), 0);
  return counts.size() == 1 ? least : concat(least, " to ", fixed(static_cast<double>(*counts.rbegin()), 0));
}

}  // namespace

std::vector<SuiteLine> suite_lines(const std::vector<SuiteResult>& results) {
  std::set<std::string> variants;
  bool has_one_each = true;
  for (const SuiteResult& result : results) {
    const std::vector<std::string> own = result.variants();
    variants.insert(own.begin(), own.end());
    has_one_each = has_one_each && own.size() == 1;
  }
  std::vector<SuiteLine> lines;
  for (const SuiteResult& result : results) {
    for (const std::string& variant : result.variants()) {
      const std::string name = results.size() == 1                    ? variant
                               : has_one_each && variants.size() == 1 ? result.name
                                                                      : concat(result.name, ", ", variant);
      lines.push_back({name, &result, variant});
    }
  }
  return lines;
}

const SuiteFigureInfo& suite_figure(const std::string& key) {
  static const std::map<std::string, SuiteFigureInfo> kFigures = [] {
    std::map<std::string, SuiteFigureInfo> figures;
    for (const SuiteFigureInfo& info :
         std::vector<SuiteFigureInfo>{{"ce", "Cross-entropy", "nats a token"},
                                      {"perplexity", "Perplexity", ""},
                                      {"bits_per_byte", "Bits a byte of text", "bits a byte"},
                                      {"top1", "First choice is right", "share of tokens", true},
                                      {"kl", "KL divergence from the teacher", "nats a token"},
                                      {"agreement", "Same first choice as the teacher", "share of tokens", true},
                                      {"exact", "Answers right in every token", "share of answers", true},
                                      {"gap_closed", "Gap closed between window and teacher", "share", true},
                                      {"us_per_token", "Time a token", "us"},
                                      {"state_bytes_per_token", "State kept a token", "bytes"}}) {
      figures[info.key] = info;
    }
    return figures;
  }();
  return kFigures.at(key);
}

std::string value_text(const SuiteFigureInfo& info, double value) {
  return info.is_share ? percent(value) : significant(value, 4);
}

std::string value_text(const SuiteFigureInfo& info, const SuiteFigure& figure) {
  const std::string value = value_text(info, figure.value);
  if (!figure.interval) return value;
  return concat(value, " [", value_text(info, figure.interval->low), ", ", value_text(info, figure.interval->high),
                "]");
}

std::optional<Interval> range_of_group(const std::string& group) {
  constexpr std::string_view kTo = " to ", kOrMore = " or more";
  std::string_view text = group;
  if (text.ends_with(kOrMore)) text.remove_suffix(kOrMore.size());
  const auto high = number_before(text);
  if (!high) return std::nullopt;
  const std::size_t to = text.rfind(kTo);
  const auto low = to == std::string_view::npos ? std::nullopt : number_before(text.substr(0, to));
  const Interval range = {low.value_or(*high), *high};
  return range.low > 0 && range.low <= range.high ? std::optional(range) : std::nullopt;
}

SuiteTaskRows::SuiteTaskRows(const std::vector<SuiteLine>& lines, std::string task)
    : task_(std::move(task)), lines_(lines) {
  std::set<int64_t> lengths, depths;
  std::set<std::string> groups;
  for (const SuiteLine& line : lines_) {
    auto& rows = rows_.emplace_back();
    for (const SuiteRow& row : line.result->rows) {
      if (row.task != task_ || row.variant != line.variant) continue;
      rows[{row.length, row.depth.value_or(-1), row.group}] = &row;
      lengths.insert(row.length);
      if (row.depth) depths.insert(*row.depth);
      if (groups.insert(row.group).second) groups_.push_back(row.group);
      has_answers_ = has_answers_ || row.num_answers > 0;
      has_documents_ = has_documents_ || row.num_documents != row.num_sequences;
    }
  }
  lengths_.assign(lengths.begin(), lengths.end());
  depths_.assign(depths.begin(), depths.end());
}

const SuiteRow* SuiteTaskRows::row(std::size_t line, const Place& place) const {
  const auto found = rows_[line].find(place);
  return found == rows_[line].end() ? nullptr : found->second;
}

Table SuiteTaskRows::table(const std::string& caption, const std::string& heading, const SuiteFigureInfo& figure,
                           const std::vector<std::pair<std::string, Place>>& places) const {
  std::vector<Column> columns = {{"", has_answers_ ? "answers" : "tokens"},
                                 {"", has_documents_ ? "documents" : "sequences"}};
  for (const SuiteLine& line : lines_) columns.push_back({"", line.name});
  Table table(caption, heading, std::move(columns));
  for (const auto& [name, place] : places) {
    Row line = {name, "", false, {{}, {}}};
    std::set<int64_t> counts, sequences;
    for (std::size_t i = 0; i < lines_.size(); ++i) {
      const SuiteRow* row = this->row(i, place);
      const SuiteFigure* value = row == nullptr ? nullptr : row->figure(figure.key);
      line.cells.push_back({value == nullptr ? "" : value_text(figure, *value), "", false});
      if (value == nullptr) continue;
      counts.insert(has_answers_ ? row->num_answers : row->num_tokens);
      sequences.insert(row->num_documents);
    }
    if (counts.empty()) continue;
    line.cells[0].text = counts_text(counts);
    line.cells[1].text = counts_text(sequences);
    table.add(std::move(line));
  }
  table.drop_empty_columns();
  return table;
}

}  // namespace rosa::report
