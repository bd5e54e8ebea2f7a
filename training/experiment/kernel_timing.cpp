#include "training/experiment/kernel_timing.h"

#include <ATen/ATen.h>

#include <ctime>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/activity.h"
#include "base/error.h"
#include "base/json.h"
#include "base/random.h"
#include "rosa/automaton/matcher.h"
#include "rosa/estimators/gate_estimator.h"
#include "rosa/kernels/channel_flips.h"
#include "rosa/kernels/symbol_flips.h"
#include "rosa/operator/one_bit_gate.h"
#include "training/metrics.h"

namespace rosa::training {
namespace {

// Symbol of position t of a family of `num_bits`-bit sequences.
using Family = std::function<uint64_t(int64_t t, base::RandomStream& random, int64_t num_bits)>;

const std::vector<std::pair<std::string, Family>>& families() {
  static const std::vector<std::pair<std::string, Family>> all = {
      {"random",
       [](int64_t, base::RandomStream& random, int64_t num_bits) { return random.below(uint64_t{1} << num_bits); }},
      {"constant", [](int64_t, base::RandomStream&, int64_t) { return uint64_t{0}; }},
      {"period 2", [](int64_t t, base::RandomStream&, int64_t) { return static_cast<uint64_t>(t % 2); }},
      {"period 7", [](int64_t t, base::RandomStream&, int64_t) { return static_cast<uint64_t>(t % 7 < 3); }},
      {"sparse",
       [](int64_t, base::RandomStream& random, int64_t) { return static_cast<uint64_t>(random.below(32) == 0); }}};
  return all;
}

template <class Symbol>
std::vector<Symbol> sequence(const Family& family, int64_t length, int64_t num_bits) {
  base::RandomStream random({.seed = 1, .step = static_cast<uint64_t>(length)});
  std::vector<Symbol> symbols(static_cast<size_t>(length));
  for (int64_t t = 0; t < length; ++t) symbols[t] = static_cast<Symbol>(family(t, random, num_bits));
  return symbols;
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Microseconds of CPU a call, once warm.
double time_call(const std::function<void()>& call, double seconds) {
  call();
  const double start = cpu_seconds();
  int64_t num_calls = 0;
  double used = 0.0;
  while (used < seconds) {
    call();
    ++num_calls;
    used = cpu_seconds() - start;
    base::note_progress();
  }
  return 1e6 * used / static_cast<double>(num_calls);
}

class KernelTiming {
 public:
  KernelTiming(const TimingSection& config, const std::filesystem::path& folder)
      : config_(config), path_(folder / "studies.jsonl"), executor_(1) {
    if (!std::filesystem::exists(path_)) return;
    base::read_json_lines(path_, [this](const base::JsonFields& line, std::string_view) {
      if (line.text("kind") != "timing") return;
      known_.insert(key(line.required_text("kernel"), line.required_text("family"), line.required_integer("length"),
                        line.required_integer("bits")));
    });
  }

  // All figures of one family and length.
  void measure(const std::string& family_name, const Family& family, int64_t length) {
    const Figure place{family_name, length};
    time_channel(place, sequence<uint8_t>(family, length, 1));
    for (const int64_t num_bits : {4, 8}) {
      if (family_name == "sparse") continue;
      time_symbols(place, sequence<uint8_t>(family, length, num_bits), num_bits);
    }
  }

 private:
  struct Figure {
    std::string family;
    int64_t length;
  };

  static std::string key(const std::string& kernel, const std::string& family, int64_t length, int64_t bits) {
    return base::concat(kernel, "|", family, "|", length, "|", bits);
  }

  void add(const Figure& place, const std::string& kernel, int64_t bits, double calls_of_one,
           const std::function<void()>& call) {
    if (!known_.insert(key(kernel, place.family, place.length, bits)).second) return;
    const double microseconds = time_call(call, config_.seconds) / calls_of_one;
    const nlohmann::ordered_json line = {{"kind", "timing"},       {"kernel", kernel}, {"family", place.family},
                                         {"length", place.length}, {"bits", bits},     {"microseconds", microseconds}};
    std::ofstream out(path_, std::ios::app);
    out << line.dump() << "\n";
    out.flush();
    base::require<base::FileError>(out.good(), "can't append to ", path_.string(), "; is the disk full?");
  }

  void time_channel(const Figure& place, std::vector<uint8_t> bits) {
    const size_t length = bits.size();
    std::vector<int32_t> positions(length);
    std::vector<int8_t> outputs(length);
    std::vector<double> rewards(length, 0.5), effects(length);
    const auto forward = [&] { matcher_.match<uint8_t>(bits, bits, positions, {}); };
    add(place, "forward", 1, 1, forward);
    add(place, "all flips", 1, 1, [&] { channel_flips_.effects(bits, rewards, rewards, outputs, effects); });
    constexpr size_t kLongestBruteForce = 512;
    if (length <= kLongestBruteForce) {
      add(place, "brute force", 1, 1, [&] {  // a forward for each flip
        for (uint8_t& bit : bits) {
          bit ^= 1;
          forward();
          bit ^= 1;
        }
      });
    }
    time_estimators(place, bits);
  }

  // Per channel, of a gradient for several: what a step pays.
  void time_estimators(const Figure& place, const std::vector<uint8_t>& bits) {
    constexpr int64_t kChannels = 16;
    const auto length = static_cast<int64_t>(bits.size());
    at::Tensor x = at::empty({1, length, kChannels}, at::kFloat);
    for (int64_t t = 0; t < length; ++t) x[0][t].fill_(bits[t] != 0 ? 1.0 : -1.0);
    GateCall call;
    call.x = x;
    call.emb0 = at::full({kChannels}, -1.0);
    call.emb1 = at::full({kChannels}, 1.0);
    call.grad_output = at::ones_like(x);
    call.index = one_bit_gate(x, call.emb0, call.emb1, executor_).index;
    for (const std::string& name : gate_estimator_names()) {
      if (name == "none") continue;
      GateEstimatorConfig config;
      config.name = name;
      const auto estimator = make_gate_estimator(config);
      add(place, name, 1, kChannels, [&] {
        ++call.stream.step;
        estimator->gradient(call, executor_);
      });
    }
  }

  void time_symbols(const Figure& place, const std::vector<uint8_t>& symbols, int64_t num_bits) {
    const size_t length = symbols.size();
    const std::vector<uint16_t> wide(symbols.begin(), symbols.end());
    std::vector<int32_t> positions(length);
    const auto num_effects = length * static_cast<size_t>(num_bits);
    const std::vector<float> gradient(num_effects, 0.5F);
    std::vector<double> query_effects(num_effects), key_effects(num_effects);
    const kernels::SymbolFlips::Rewards rewards{.value = wide, .value_bits = num_bits, .gradient = gradient};
    add(place, "forward", num_bits, 1, [&] { matcher_.match<uint8_t>(symbols, symbols, positions, {}); });
    add(place, "all flips", num_bits, 1,
        [&] { symbol_flips_.effects(wide, wide, num_bits, rewards, positions, query_effects, key_effects); });
  }

  const TimingSection& config_;
  const std::filesystem::path path_;
  std::set<std::string> known_;
  HostExecutor executor_;
  automaton::Matcher matcher_;
  kernels::ChannelFlips channel_flips_;
  kernels::SymbolFlips symbol_flips_;
};

}  // namespace

bool time_kernels(const TimingSection& config, const std::filesystem::path& folder,
                  parallel::Communicator& communicator, const std::function<bool()>& stop_requested) {
  KernelTiming timing(config, folder);
  for (const int64_t length : config.lengths) {
    for (const auto& [name, family] : families()) {
      const bool stop = stop_requested && stop_requested();
      if (communicator.all_reduce_values(std::vector<int64_t>{stop ? 1 : 0}, parallel::Reduction::max).front() != 0) {
        return false;
      }
      const base::PhaseScope phase(base::Phase::evaluation);
      if (communicator.rank() == 0) timing.measure(name, family, length);
    }
  }
  communicator.barrier();
  return true;
}

}  // namespace rosa::training
