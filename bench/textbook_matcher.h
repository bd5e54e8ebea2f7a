// The textbook matcher, the baseline of the benchmarks: an online suffix automaton with std::map edges, whose latest
// end positions are written up the whole chain of suffix links at every symbol, as rosa_soft's C++ operator does.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

namespace rosa::bench {

class TextbookMatcher {
 public:
  void match(std::span<const uint8_t> query, std::span<const uint8_t> key, std::span<int32_t> positions,
             std::span<int32_t> lengths) {
    states_.clear();
    states_.reserve(2 * key.size() + 2);
    states_.emplace_back();
    last_ = 0;
    int32_t state = 0;
    int32_t length = 0;
    for (size_t t = 0; t < query.size(); ++t) {
      auto edge = states_[state].edges.find(query[t]);
      while (edge == states_[state].edges.end() && state != 0) {
        state = states_[state].link;
        length = states_[state].length;
        edge = states_[state].edges.find(query[t]);
      }
      if (edge != states_[state].edges.end()) {
        state = edge->second;
        ++length;
      }
      positions[t] = length > 0 ? states_[state].latest_end : -1;
      lengths[t] = length;
      append(key[t], static_cast<int32_t>(t));
      // A split may have moved the matched string to the new state.
      if (length > 0 && length <= states_[states_[state].link].length) state = states_[state].link;
    }
  }

 private:
  struct State {
    std::map<uint8_t, int32_t> edges;
    int32_t link = -1;
    int32_t length = 0;
    int32_t latest_end = -1;
  };

  void append(uint8_t symbol, int32_t position) {
    const auto current = static_cast<int32_t>(states_.size());
    states_.emplace_back();
    states_[current].length = states_[last_].length + 1;
    int32_t state = last_;
    while (state != -1 && states_[state].edges.count(symbol) == 0) {
      states_[state].edges[symbol] = current;
      state = states_[state].link;
    }
    if (state == -1) {
      states_[current].link = 0;
    } else {
      const int32_t target = states_[state].edges[symbol];
      if (states_[state].length + 1 == states_[target].length) {
        states_[current].link = target;
      } else {
        const auto clone = static_cast<int32_t>(states_.size());
        states_.push_back(states_[target]);
        states_[clone].length = states_[state].length + 1;
        while (state != -1 && states_[state].edges[symbol] == target) {
          states_[state].edges[symbol] = clone;
          state = states_[state].link;
        }
        states_[target].link = clone;
        states_[current].link = clone;
      }
    }
    for (int32_t each = current; each > 0; each = states_[each].link) states_[each].latest_end = position;
    last_ = current;
  }

  std::vector<State> states_;
  int32_t last_ = 0;
};

}  // namespace rosa::bench
