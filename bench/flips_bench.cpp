// All single flips at once against the forward, and against one forward a flip. One thread; items are symbols. Names:
//   WHAT/channel/FAMILY/T         1-bit channels: kernel; matcher (the forward); textbook (another forward); brute, T +
//   1
//                                 runs of the matcher; brute_textbook, as many of the textbook's
//   WHAT/symbols/FAMILY/BITS/T    symbols: kernel (queries and keys); tied (both at once); local (the local
//                                 counterfactual); matcher
//   WHAT/channels/FAMILY/T        8192 channels, as a gate of 8 x 1024 has
// Ratios of columns: bench/table.py --pivot FILE.json
//   flips_bench --benchmark_filter='/channel/uniform/'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bench/sequences.h"
#include "bench/textbook_matcher.h"
#include "rosa/automaton/matcher.h"
#include "rosa/kernels/channel_flips.h"
#include "rosa/kernels/local_counterfactual.h"
#include "rosa/kernels/symbol_flips.h"

namespace rosa::bench {
namespace {

constexpr int kValueBits = 8;

// One sequence and the room that kernels write to.
struct Problem {
  Problem(const std::string& family, int64_t length, int num_bits, uint64_t seed)
      : symbols(make_sequence(family, length, num_bits, seed)),
        wide(symbols.begin(), symbols.end()),
        value(length),
        gradient(length * kValueBits),
        zero_rewards(length, 0.25),
        one_rewards(length),
        positions(length),
        lengths(length),
        outputs(length),
        query_effects(length * num_bits),
        key_effects(length * num_bits),
        value_effects(length * kValueBits),
        bits(num_bits) {
    std::mt19937_64 random(seed + 1);
    std::normal_distribution<float> normal;
    for (uint16_t& v : value) v = random() & ((1 << kValueBits) - 1);
    for (float& g : gradient) g = normal(random);
    for (double& r : one_rewards) r = normal(random);
  }

  Symbols symbols;
  std::vector<uint16_t> wide, value;
  std::vector<float> gradient;
  std::vector<double> zero_rewards, one_rewards;
  std::vector<int32_t> positions, lengths;
  std::vector<int8_t> outputs;
  std::vector<double> query_effects, key_effects, value_effects;
  int bits;

  kernels::SymbolFlips::Rewards rewards() const {
    return {.value = value, .value_bits = kValueBits, .gradient = gradient};
  }
};

using Body = std::function<void(Problem&)>;
// Makes a body with its own kernel.
using MakeBody = std::function<Body()>;

Body run_matcher() {
  return [matcher = std::make_shared<automaton::Matcher>()](Problem& p) {
    matcher->match<uint8_t>(p.symbols, p.symbols, p.positions, {});
  };
}
Body run_textbook() {
  return [matcher = std::make_shared<TextbookMatcher>()](Problem& p) {
    matcher->match(p.symbols, p.symbols, p.positions, p.lengths);
  };
}

// A forward for the sequence itself and one for every flip of its (single) bits, whose rewards are summed.
MakeBody brute_force(const MakeBody& forward) {
  return [forward] {
    return [match = forward()](Problem& p) {
      const auto total = [&] {
        match(p);
        double sum = 0.0;
        for (size_t t = 0; t < p.symbols.size(); ++t) {
          const int32_t position = p.positions[t];
          if (position >= 0) sum += (p.symbols[position + 1] != 0 ? p.one_rewards : p.zero_rewards)[t];
        }
        return sum;
      };
      const double base = total();
      for (size_t flip = 0; flip < p.symbols.size(); ++flip) {
        p.symbols[flip] ^= 1;
        p.query_effects[flip] = total() - base;
        p.symbols[flip] ^= 1;
      }
    };
  };
}

Body flip_channel() {
  return [kernel = std::make_shared<kernels::ChannelFlips>()](Problem& p) {
    kernel->effects(p.symbols, p.zero_rewards, p.one_rewards, p.outputs, p.query_effects);
  };
}
Body flip_symbols() {
  return [kernel = std::make_shared<kernels::SymbolFlips>()](Problem& p) {
    kernel->effects(p.wide, p.wide, p.bits, p.rewards(), p.positions, p.query_effects, p.key_effects);
    kernels::SymbolFlips::value_effects(p.rewards(), p.positions, p.value_effects);
  };
}
Body flip_tied() {
  return [kernel = std::make_shared<kernels::SymbolFlips>()](Problem& p) {
    kernel->tied_effects(p.wide, p.bits, p.rewards(), p.positions, p.query_effects);
  };
}
Body local_counterfactual() {
  return [kernel = std::make_shared<kernels::LocalCounterfactual>()](Problem& p) {
    kernel->effects(p.wide, p.wide, p.bits, p.rewards(), p.positions, p.query_effects, p.key_effects, p.value_effects);
  };
}

struct Cell {
  std::string family;
  int bits;
  int64_t length;
  int64_t num_sequences;  // several, so that branch predictors can't learn a short one by heart
};

void time_body(benchmark::State& state, const MakeBody& make_body, const Cell& cell) {
  std::vector<Problem> problems;
  for (int64_t k = 0; k < cell.num_sequences; ++k) problems.emplace_back(cell.family, cell.length, cell.bits, 2 * k);
  const Body body = make_body();
  for (auto _ : state) {
    for (Problem& problem : problems) {
      body(problem);
      benchmark::ClobberMemory();
    }
  }
  state.SetItemsProcessed(state.iterations() * cell.num_sequences * cell.length);
}

void add(const std::string& name, const MakeBody& make_body, const Cell& cell) {
  benchmark::RegisterBenchmark(name.c_str(),
                               [make_body, cell](benchmark::State& state) { time_body(state, make_body, cell); });
}

void add_channels() {
  for (const char* family : {"uniform", "constant", "period2", "period7", "period100", "skewed"}) {
    for (const int64_t length : {128, 512, 2048}) {
      const std::string name = "/channel/" + std::string(family) + "/" + std::to_string(length);
      const Cell cell{family, 1, length, std::max<int64_t>(1, 4096 / length)}, one{family, 1, length, 1};
      add("kernel" + name, flip_channel, cell);
      add("matcher" + name, run_matcher, cell);
      add("textbook" + name, run_textbook, cell);
      add("brute" + name, brute_force(run_matcher), one);
      add("brute_textbook" + name, brute_force(run_textbook), one);
    }
  }
  for (const char* family : {"uniform", "constant"}) {
    const Cell cell{family, 1, 128, 8192};
    add("kernel/channels/" + std::string(family) + "/128", flip_channel, cell);
    add("matcher/channels/" + std::string(family) + "/128", run_matcher, cell);
  }
}

void add_symbols() {
  for (const char* family : {"uniform", "text", "constant", "period2", "period7", "period100", "skewed"}) {
    for (const int bits : {1, 4, 8}) {
      for (const int64_t length : {1024, 4096}) {
        const Cell cell{family, bits, length, std::max<int64_t>(1, 8192 / length)};
        const std::string name =
            "/symbols/" + std::string(family) + "/" + std::to_string(bits) + "/" + std::to_string(length);
        add("kernel" + name, flip_symbols, cell);
        add("tied" + name, flip_tied, cell);
        add("local" + name, local_counterfactual, cell);
        add("matcher" + name, run_matcher, cell);
      }
    }
  }
}

}  // namespace
}  // namespace rosa::bench

int main(int argc, char** argv) {
  rosa::bench::add_channels();
  rosa::bench::add_symbols();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
