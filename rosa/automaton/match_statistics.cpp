#include "rosa/automaton/match_statistics.h"

#include <algorithm>
#include <cmath>

namespace rosa::automaton {
namespace {

double share(int64_t part, int64_t whole) {
  return whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole);
}

uint64_t all_bits(int num_bits) { return num_bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << num_bits) - 1; }

}  // namespace

void SymbolStatistics::merge(const SymbolStatistics& other) {
  num_symbols += other.num_symbols;
  bits_ever_set |= other.bits_ever_set;
  bits_always_set &= other.bits_always_set;
  for (size_t i = 0; i < counts.size(); ++i) counts[i] += other.counts[i];
}

double SymbolStatistics::entropy() const {
  double sum = 0.0;
  for (const int64_t count : counts) {
    if (count > 0) sum -= share(count, num_symbols) * std::log2(share(count, num_symbols));
  }
  return std::max(sum, 0.0);  // not -0
}

uint64_t SymbolStatistics::dead_bits(int num_bits) const { return ~bits_ever_set & all_bits(num_bits); }

uint64_t SymbolStatistics::constant_bits(int num_bits) const {
  return (~bits_ever_set | bits_always_set) & all_bits(num_bits);
}

void MatchStatistics::merge(const MatchStatistics& other) {
  num_positions += other.num_positions;
  num_matched += other.num_matched;
  total_length += other.total_length;
  max_length = std::max(max_length, other.max_length);
  for (size_t i = 0; i < length_counts.size(); ++i) length_counts[i] += other.length_counts[i];
  num_agreeing += other.num_agreeing;
  query.merge(other.query);
  key.merge(other.key);
}

double MatchStatistics::matched_share() const { return share(num_matched, num_positions); }
double MatchStatistics::mean_length() const { return share(total_length, num_matched); }
double MatchStatistics::agreement() const { return share(num_agreeing, num_positions); }

}  // namespace rosa::automaton
