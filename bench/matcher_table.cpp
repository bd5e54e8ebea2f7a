// Prints, as Markdown, the tables of the matchers against the textbook automaton: ns of CPU time a symbol, ratios,
// geometric means, workspace, statistics on and off, two threads, streaming. Each figure is the median of repeats after
// a warm-up; both sides of a ratio take turns.
//   matcher_table             a minute: lengths 1024 and 4096, streaming of 8192
//   matcher_table full        all lengths; the textbook takes 12 s for some of the sequences: about ten minutes
//   matcher_table streaming   the streams alone, of 8192 and 1,048,576
//   matcher_table places      what the sums over all places of a match cost beside its latest place alone
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bench/sequences.h"
#include "bench/textbook_matcher.h"
#include "rosa/automaton/matcher.h"
#include "rosa/automaton/place_sums.h"
#include "rosa/automaton/streaming_matcher.h"

namespace rosa::bench {
namespace {

using automaton::CpuLevel;
using automaton::Matcher;

constexpr int kRepeats = 5;

struct Pair {
  Symbols query, key;
};

double cpu_ns() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
}

double wall_ns() {
  return static_cast<double>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::steady_clock::now().time_since_epoch())
          .count());
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// Several sequences, so that branch predictors can't learn a short one by heart.
std::vector<Pair> make_pairs(const std::string& family, int bits, int64_t size, bool is_self) {
  std::vector<Pair> pairs;
  for (int64_t i = 0; i < std::max<int64_t>(1, 65536 / size); ++i) {
    const Symbols key = make_sequence(family, size, bits, 2 * i);
    pairs.push_back({is_self ? key : make_sequence(family, size, bits, 2 * i + 1), key});
  }
  return pairs;
}

struct Buffers {
  explicit Buffers(size_t size) : positions(size), lengths(size) {}
  std::vector<int32_t> positions, lengths;
};

double match_all(Matcher& matcher, const std::vector<Pair>& pairs, Buffers& out,
                 automaton::MatchStatistics* statistics = nullptr) {
  const double start = cpu_ns();
  for (const Pair& each : pairs) {
    matcher.match<uint8_t>(each.query, each.key, out.positions, out.lengths, {}, statistics);
  }
  return (cpu_ns() - start) / static_cast<double>(pairs.size() * out.positions.size());
}

struct Cell {
  double ns = 0, ratio = 0, workspace = 0;
};

Cell measure(const std::string& family, int bits, int64_t size, bool is_self) {
  const std::vector<Pair> pairs = make_pairs(family, bits, size, is_self);
  Buffers out(size);
  Matcher matcher;
  TextbookMatcher textbook;
  match_all(matcher, pairs, out);
  std::vector<double> ours, theirs;
  double spent = 0;
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    ours.push_back(match_all(matcher, pairs, out));
    if (spent > 1e9) continue;  // the quadratic ones: once is enough
    const size_t count = family == "uniform" || family == "text" ? pairs.size() : std::min<size_t>(pairs.size(), 4);
    const double start = cpu_ns();
    for (size_t i = 0; i < count; ++i) textbook.match(pairs[i].query, pairs[i].key, out.positions, out.lengths);
    const double taken = cpu_ns() - start;
    spent += taken;
    theirs.push_back(taken / static_cast<double>(count * out.positions.size()));
  }
  const double ns = median(ours);
  return {ns, median(theirs) / ns, static_cast<double>(matcher.workspace_bytes()) / static_cast<double>(size)};
}

void print_batch(const std::vector<int64_t>& sizes) {
  std::printf("\n## Batch: ns a symbol (times as fast as the textbook)\n\n| family | bits | query |");
  for (const int64_t size : sizes) std::printf(" %lld |", static_cast<long long>(size));
  std::printf(" last / 4096 |\n|---|---|---|");
  for (size_t i = 0; i < sizes.size(); ++i) std::printf("---|");
  std::printf("---|\n");
  double log_sum = 0, least = 1e30, least_any = 1e30, most_ns = 0, most_growth = 0, workspace = 0;
  int count = 0;
  for (const std::string& family : sequence_families()) {
    for (const int bits : {1, 4, 8}) {
      for (const bool is_self : {true, false}) {
        std::printf("| %s | %d | %s |", family.c_str(), bits, is_self ? "key" : "other");
        double at_4096 = 0, last = 0;
        for (const int64_t size : sizes) {
          const Cell cell = measure(family, bits, size, is_self);
          std::printf(" %.1f (%.1f) |", cell.ns, cell.ratio);
          if (family == "uniform" || family == "text") {
            log_sum += std::log(cell.ratio);
            ++count;
            least = std::min(least, cell.ratio);
          }
          least_any = std::min(least_any, cell.ratio);
          most_ns = std::max(most_ns, cell.ns);
          workspace = std::max(workspace, cell.workspace);
          if (size == 4096) at_4096 = cell.ns;
          last = cell.ns;
        }
        if (at_4096 > 1) most_growth = std::max(most_growth, last / at_4096);
        std::printf(" %.1f |\n", last / at_4096);
        std::fflush(stdout);
      }
    }
  }
  std::printf(
      "\nUniform and text: geometric mean %.1f, least %.1f. All families: least %.1f, most %.0f ns a symbol, "
      "growth at most %.1f (of what takes over 1 ns). Workspace at most %.0f bytes a symbol.\n",
      std::exp(log_sum / count), least, least_any, most_ns, most_growth, workspace);
}

void print_levels_and_statistics() {
  std::printf(
      "\n## CPU levels, statistics off and on, 4096 symbols, query = key: ns a symbol\n\n"
      "| family | bits | portable | AVX2 | AVX-512 | best with statistics | more |\n|---|---|---|---|---|---|---|\n");
  for (const char* family : {"uniform", "text", "constant"}) {
    for (const int bits : {1, 4, 8}) {
      const std::vector<Pair> pairs = make_pairs(family, bits, 4096, true);
      Buffers out(4096);
      std::printf("| %s | %d |", family, bits);
      for (const CpuLevel level : {CpuLevel::portable, CpuLevel::avx2, CpuLevel::avx512}) {
        if (level > automaton::best_cpu_level()) {
          std::printf(" not on this CPU |");
          continue;
        }
        Matcher matcher(level);
        std::vector<double> ns;
        for (int repeat = 0; repeat <= kRepeats; ++repeat) ns.push_back(match_all(matcher, pairs, out));
        std::printf(" %.2f |", median({ns.begin() + 1, ns.end()}));
      }
      Matcher matcher;
      automaton::MatchStatistics statistics;
      std::vector<double> off, on;
      for (int repeat = 0; repeat < 3 * kRepeats; ++repeat) {
        off.push_back(match_all(matcher, pairs, out));
        on.push_back(match_all(matcher, pairs, out, &statistics));
      }
      std::printf(" %.2f | %.2f |\n", median(on), median(on) - median(off));
    }
  }
}

void print_threads() {
  const std::vector<Pair> pairs = make_pairs("uniform", 4, 1024, false);
  const auto run = [&](int num_threads) {
    const double start = wall_ns();
    std::vector<std::thread> threads;
    for (int i = 0; i < num_threads; ++i) {
      threads.emplace_back([&] {
        Matcher matcher;
        Buffers out(1024);
        for (int round = 0; round < 64 / num_threads; ++round) match_all(matcher, pairs, out);
      });
    }
    for (std::thread& thread : threads) thread.join();
    return wall_ns() - start;
  };
  std::vector<double> speed_ups;
  run(2);
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    const double one = run(1);
    speed_ups.push_back(one / run(2));
  }
  std::printf(
      "\nTwo threads on independent sequences (4 bits, 1024): %.2f times as fast as one, by wall time (%u cores; "
      "only on an idle machine does this say something).\n",
      median(speed_ups), std::thread::hardware_concurrency());
}

void print_streaming(const std::vector<int64_t>& sizes) {
  std::printf("\n## Streaming: ns a symbol, bytes of memory a symbol\n\n| family | bits | query |");
  for (const int64_t size : sizes) std::printf(" %lld |", static_cast<long long>(size));
  std::printf("\n|---|---|---|");
  for (size_t i = 0; i < sizes.size(); ++i) std::printf("---|");
  std::printf("\n");
  for (const std::string& family : sequence_families()) {
    for (const int bits : {1, 4, 8}) {
      for (const bool is_self : {true, false}) {
        std::printf("| %s | %d | %s |", family.c_str(), bits, is_self ? "key" : "other");
        for (const int64_t size : sizes) {
          if (family == "text" && size > 65536) {
            std::printf(" the text is too short |");
            continue;
          }
          const Symbols key = make_sequence(family, size, bits, 0);
          const Symbols query = is_self ? key : make_sequence(family, size, bits, 1);
          std::vector<double> ns;
          double num_bytes = 0;
          for (int repeat = 0; repeat < (size > 100000 ? 3 : kRepeats); ++repeat) {
            automaton::StreamingMatcher stream;
            const double start = cpu_ns();
            for (int64_t t = 0; t < size; ++t) stream.append(query[t], key[t]);
            ns.push_back((cpu_ns() - start) / static_cast<double>(size));
            num_bytes = static_cast<double>(stream.num_bytes()) / static_cast<double>(size);
          }
          std::printf(" %.0f ns, %.1f B |", median(ns), num_bytes);
        }
        std::printf("\n");
        std::fflush(stdout);
      }
    }
  }
}

// The median ns a symbol without and with something; both take turns.
struct Both {
  double without = 0, with = 0;
};

std::string told(const Both& both) {
  char text[64];
  std::snprintf(text, sizeof(text), " %.1f, %.1f (%.2f) |", both.without, both.with, both.with / both.without);
  return text;
}

template <class Counter>
Both place_cost(const std::vector<Pair>& pairs, int64_t size) {
  Matcher matcher;
  automaton::PlaceSums place_sums;
  Buffers out(size);
  std::vector<Counter> counts(size), sums(8 * size);
  const Symbols values = make_sequence("uniform", size, 8, 1000);
  std::vector<double> latest, all;
  for (int repeat = 0; repeat <= 3 * kRepeats; ++repeat) {
    double start = cpu_ns();
    for (const Pair& each : pairs) matcher.match<uint8_t>(each.query, each.key, out.positions, out.lengths);
    latest.push_back(cpu_ns() - start);
    start = cpu_ns();
    for (const Pair& each : pairs) {
      matcher.match<uint8_t>(each.query, each.key, out.positions, out.lengths);
      place_sums.sum<uint8_t, uint8_t, Counter>(each.key, values, 8, out.positions, out.lengths, counts, sums);
    }
    all.push_back(cpu_ns() - start);
  }
  const auto symbols = static_cast<double>(static_cast<int64_t>(pairs.size()) * size);
  return {median({latest.begin() + 1, latest.end()}) / symbols, median({all.begin() + 1, all.end()}) / symbols};
}

Both stream_place_cost(const std::vector<Pair>& pairs, int64_t size) {
  const Symbols values = make_sequence("uniform", size, 8, 1000);
  std::vector<double> latest, all;
  const size_t count = std::min<size_t>(pairs.size(), 16);
  std::vector<uint32_t> sums(8);
  for (int repeat = 0; repeat < kRepeats; ++repeat) {
    for (const bool with_places : {false, true}) {
      const double start = cpu_ns();
      for (size_t i = 0; i < count; ++i) {
        automaton::StreamingMatcher stream;
        automaton::SymbolSequence followers;
        for (int64_t t = 0; t < size; ++t) {
          stream.append(pairs[i].query[t], pairs[i].key[t]);
          followers.push_back(values[t]);
          if (with_places) stream.count_places(followers, sums);
        }
      }
      (with_places ? all : latest).push_back(cpu_ns() - start);
    }
  }
  const auto symbols = static_cast<double>(static_cast<int64_t>(count) * size);
  return {median(latest) / symbols, median(all) / symbols};
}

// Values of 8 bits.
void print_places() {
  const std::vector<int64_t> sizes{384, 2048, 65536};
  std::printf(
      "\n## All places of a match, 8 value bits: ns a symbol of the latest place alone, of all (ratio)\n\n"
      "| family | bits | query | 384 | 2048 | 65536 | stream of 384 | 2048 | 65536 "
      "|\n|---|---|---|---|---|---|---|---|---|\n");
  for (const std::string& family : sequence_families()) {
    for (const int bits : {1, 4, 8}) {
      for (const bool is_self : {true, false}) {
        std::printf("| %s | %d | %s |", family.c_str(), bits, is_self ? "key" : "other");
        std::string streams;
        for (const int64_t size : sizes) {
          const std::vector<Pair> pairs = make_pairs(family, bits, size, is_self);
          const Both batch = size <= 32768 ? place_cost<uint16_t>(pairs, size) : place_cost<uint32_t>(pairs, size);
          std::printf("%s", told(batch).c_str());
          streams += told(stream_place_cost(pairs, size));
        }
        std::printf("%s\n", streams.c_str());
        std::fflush(stdout);
      }
    }
  }
}

}  // namespace
}  // namespace rosa::bench

int main(int argc, char** argv) {
  using Sizes = std::vector<int64_t>;
  const std::string mode = argc > 1 ? argv[1] : "";
  const bool is_full = mode == "full";
  if (argc > 2 || !(mode.empty() || is_full || mode == "streaming" || mode == "places")) {
    std::fprintf(stderr, "usage: matcher_table [full | streaming | places]\n");
    return 2;
  }
  if (mode == "places") {
    rosa::bench::print_places();
    return 0;
  }
  if (mode != "streaming") {
    rosa::bench::print_batch(is_full ? Sizes{1024, 4096, 16384, 65536} : Sizes{1024, 4096});
    rosa::bench::print_levels_and_statistics();
    rosa::bench::print_threads();
  }
  rosa::bench::print_streaming(mode.empty() ? Sizes{8192} : Sizes{8192, 1048576});
  return 0;
}
