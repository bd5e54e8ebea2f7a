// The O(n^2) oracle of the hard match, written straight from its definition, and the test sequences.
#pragma once

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "rosa/automaton/match.h"

namespace rosa::automaton {

using Symbols = std::vector<uint64_t>;

inline std::vector<Match> oracle_matches(const Symbols& query, const Symbols& key,
                                         const std::function<bool(size_t t, size_t i)>& allowed = {}) {
  const size_t size = query.size();
  std::vector<Match> matches(size);
  std::vector<int32_t> before(size + 1, 0);  // before[i + 1] = L(t - 1, i)
  std::vector<int32_t> row(size + 1, 0);
  for (size_t t = 0; t < size; ++t) {
    for (size_t i = 0; i < t; ++i) {
      const bool equal = query[t] == key[i] && (!allowed || allowed(t, i));
      row[i + 1] = equal ? before[i] + 1 : 0;
      if (row[i + 1] > 0 && row[i + 1] >= matches[t].length) matches[t] = {static_cast<int32_t>(i), row[i + 1]};
    }
    before.swap(row);
  }
  return matches;
}

// The same for a growing sequence: all lengths are kept, so that taking back is nothing but forgetting.
class OracleStream {
 public:
  Match append(uint64_t query, uint64_t key) {
    const size_t t = keys_.size();
    std::vector<int32_t> row(t);
    Match best;
    for (size_t i = 0; i < t; ++i) {
      if (query != keys_[i]) continue;
      row[i] = i > 0 ? rows_.back()[i - 1] + 1 : 1;
      if (row[i] >= best.length) best = {static_cast<int32_t>(i + start_), row[i]};
    }
    rows_.push_back(std::move(row));
    keys_.push_back(key);
    return best;
  }
  void rewind(size_t num_symbols) {
    rows_.resize(rows_.size() - num_symbols);
    keys_.resize(keys_.size() - num_symbols);
  }
  void start_document() {
    start_ += keys_.size();
    rewind(keys_.size());
  }
  size_t size() const { return start_ + keys_.size(); }
  size_t document_size() const { return keys_.size(); }

 private:
  size_t start_ = 0;
  std::vector<std::vector<int32_t>> rows_;  // [t][i]: so many symbols up to query t and key i are equal
  Symbols keys_;
};

struct Family {
  std::string name;
  std::function<Symbols(size_t size, int bits, std::mt19937_64& random)> make;
};

inline uint64_t symbol_of(uint64_t value, int bits) { return value & (~uint64_t{0} >> (64 - bits)); }

// Sequences that are usual, and those that are hard for one matcher or another.
inline std::vector<Family> families() {
  using Random = std::mt19937_64;
  const auto from = [](auto at) {
    return [at](size_t size, int bits, Random& random) {
      Symbols symbols(size);
      for (size_t t = 0; t < size; ++t) symbols[t] = symbol_of(at(t, random), bits);
      return symbols;
    };
  };
  const auto periodic = [from](size_t period, uint64_t noise) {
    return [period, noise](size_t size, int bits, Random& random) {
      Symbols symbols(size);
      for (size_t t = 0; t < size; ++t) {
        const bool fresh = t < period || (noise > 0 && random() % noise == 0);
        symbols[t] = fresh ? symbol_of(random(), bits) : symbols[t - period];
      }
      return symbols;
    };
  };
  return {
      {"uniform", from([](size_t, Random& random) { return random(); })},
      {"constant", from([](size_t, Random&) { return uint64_t{1}; })},
      {"zero", from([](size_t, Random&) { return uint64_t{0}; })},
      {"period 2", periodic(2, 0)},
      {"period 7", periodic(7, 0)},
      {"period 100", periodic(100, 0)},
      {"noisy period 3", periodic(3, 20)},
      {"noisy period 37", periodic(37, 100)},
      {"runs",
       [](size_t size, int bits, Random& random) {
         Symbols symbols(size);
         for (size_t t = 0; t < size; ++t) {
           symbols[t] = t == 0 || random() % 50 == 0 ? symbol_of(random(), bits) : symbols[t - 1];
         }
         return symbols;
       }},
      {"skewed", from([](size_t, Random& random) { return random() % 10 == 0 ? random() : 0; })},
      {"very skewed", from([](size_t, Random& random) { return random() % 300 == 0 ? random() : 0; })},
      {"one symbol", from([](size_t t, Random&) { return uint64_t{t == 5}; })},
      {"growing zeros",
       [](size_t size, int, Random&) {
         Symbols symbols;
         for (size_t zeros = 1; symbols.size() < size; ++zeros) {
           symbols.resize(symbols.size() + zeros, 0);
           symbols.push_back(1);
         }
         symbols.resize(size);
         return symbols;
       }},
      {"Thue-Morse", from([](size_t t, Random&) { return static_cast<uint64_t>(__builtin_popcountll(t) & 1); })},
      {"Fibonacci",
       [](size_t size, int, Random&) {
         Symbols a{0};
         Symbols b{0, 1};
         while (b.size() < size) {
           Symbols next = b;
           next.insert(next.end(), a.begin(), a.end());
           a = std::exchange(b, std::move(next));
         }
         b.resize(size);
         return b;
       }},
      {"ruler", from([](size_t t, Random&) { return static_cast<uint64_t>(__builtin_ctzll(t + 1)); })},
      {"de Bruijn like", from([](size_t t, Random&) { return (t * t) >> 3; })},
      {"half repeated",
       [](size_t size, int bits, Random& random) {
         Symbols symbols(size);
         const size_t half = (size + 1) / 2;
         for (size_t t = 0; t < size; ++t) symbols[t] = t < half ? symbol_of(random(), bits) : symbols[t - half];
         return symbols;
       }},
  };
}

}  // namespace rosa::automaton
