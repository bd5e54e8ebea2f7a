// Times the matchers. Names: matcher/family/bits/size/query, where the query is the key itself or another sequence of
// the family. One thread; items are symbols, so that 1 / items_per_second is the CPU time of a symbol.
//   matcher_bench --benchmark_filter='(avx512|textbook)/uniform/8/'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <functional>
#include <memory>
#include <utility>

#include "bench/sequences.h"
#include "bench/textbook_matcher.h"
#include "rosa/automaton/matcher.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::bench {
namespace {

using MatchFunction = std::function<void(const Symbols&, const Symbols&, std::vector<int32_t>&, std::vector<int32_t>&)>;
using MakeMatcher = std::function<MatchFunction()>;

struct Cell {
  std::string family;
  int bits;
  int64_t size;
  bool is_self;
};

std::vector<std::pair<Symbols, Symbols>> make_pairs(const Cell& cell) {
  // Several sequences, so that branch predictors can't learn a short one by heart.
  const int64_t count = std::max<int64_t>(1, 65536 / cell.size);
  std::vector<std::pair<Symbols, Symbols>> pairs;
  for (int64_t i = 0; i < count; ++i) {
    const Symbols key = make_sequence(cell.family, cell.size, cell.bits, 2 * i);
    pairs.emplace_back(cell.is_self ? key : make_sequence(cell.family, cell.size, cell.bits, 2 * i + 1), key);
  }
  return pairs;
}

void time_matcher(benchmark::State& state, const MakeMatcher& make_matcher, const Cell& cell) {
  const auto pairs = make_pairs(cell);
  std::vector<int32_t> positions(cell.size);
  std::vector<int32_t> lengths(cell.size);
  const MatchFunction match = make_matcher();
  for (auto _ : state) {
    for (const auto& [query, key] : pairs) {
      match(query, key, positions, lengths);
      benchmark::DoNotOptimize(positions.data());
      benchmark::ClobberMemory();
    }
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(pairs.size()) * cell.size);
}

MatchFunction make_batch(automaton::CpuLevel level, bool with_statistics) {
  return [matcher = std::make_shared<automaton::Matcher>(level), with_statistics,
          statistics = automaton::MatchStatistics()](const Symbols& query, const Symbols& key,
                                                     std::vector<int32_t>& positions,
                                                     std::vector<int32_t>& lengths) mutable {
    matcher->match<uint8_t>(query, key, positions, lengths, {}, with_statistics ? &statistics : nullptr);
  };
}

MatchFunction make_textbook() {
  return [matcher = TextbookMatcher()](const Symbols& query, const Symbols& key, std::vector<int32_t>& positions,
                                       std::vector<int32_t>& lengths) mutable {
    matcher.match(query, key, positions, lengths);
  };
}

MatchFunction make_streaming() {
  return [](const Symbols& query, const Symbols& key, std::vector<int32_t>& positions, std::vector<int32_t>& lengths) {
    automaton::StreamingMatcher stream;
    for (size_t t = 0; t < query.size(); ++t) {
      const automaton::Match match = stream.append(query[t], key[t]);
      positions[t] = match.position;
      lengths[t] = match.length;
    }
  };
}

void register_all() {
  using automaton::CpuLevel;
  std::vector<std::pair<std::string, MakeMatcher>> matchers{{"textbook", make_textbook}, {"streaming", make_streaming}};
  for (const auto& [name, level] : std::vector<std::pair<std::string, CpuLevel>>{
           {"portable", CpuLevel::portable}, {"avx2", CpuLevel::avx2}, {"avx512", CpuLevel::avx512}}) {
    if (level > automaton::best_cpu_level()) {
      std::fprintf(stderr, "skipped: this CPU lacks %s\n", name.c_str());
      continue;
    }
    matchers.emplace_back(name, [level = level] { return make_batch(level, false); });
    matchers.emplace_back(name + "+statistics", [level = level] { return make_batch(level, true); });
  }
  for (const std::string& family : sequence_families()) {
    for (const int bits : {1, 4, 8}) {
      for (const int64_t size : {1024, 4096, 16384, 65536, 1048576}) {
        if (family == "text" && size > 65536) continue;
        for (const bool is_self : {true, false}) {
          const Cell cell{family, bits, size, is_self};
          for (const auto& [name, make_matcher] : matchers) {
            const std::string title = name + "/" + family + "/" + std::to_string(bits) + "/" + std::to_string(size) +
                                      (is_self ? "/self" : "/other");
            benchmark::RegisterBenchmark(title.c_str(), [make_matcher = make_matcher, cell](benchmark::State& state) {
              time_matcher(state, make_matcher, cell);
            });
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace rosa::bench

int main(int argc, char** argv) {
  rosa::bench::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
