// Loading weights of Qwen3-0.6B's shapes (all 0.5, 1.2 GB as bfloat16) from a file that the system has in its cache:
// mapped beside copied and converted, the load alone and with one pass over all weights, as a start takes to look for
// numbers that are not finite. `rss_mib` and `pss_mib` are what the process takes more than before.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <system_error>

#include "base/process_memory.h"
#include "models/causal_model.h"
#include "models/safetensors_weights.h"

namespace rosa::models {
namespace {

ModelConfig qwen3_config() {
  ModelConfig config;
  config.vocab_size = 151936;
  config.hidden_size = 1024;
  config.intermediate_size = 3072;
  config.num_hidden_layers = 28;
  config.num_attention_heads = 16;
  config.num_key_value_heads = 8;
  config.head_dim = 128;
  config.tie_word_embeddings = true;
  config.dtype = "bfloat16";
  return config;
}

// Written once, removed at the end.
class Folder {
 public:
  Folder() : path_(std::filesystem::temp_directory_path() / ("rosa_load_bench_" + std::to_string(::getpid()))) {
    std::filesystem::create_directory(path_);
    std::ofstream(path_ / "config.json") << to_json(qwen3_config());
    TensorMap weights;
    for (const auto& [name, shape] : parameter_shapes(qwen3_config())) {
      weights[name] = at::full(shape, 0.5, at::kBFloat16);
    }
    write_tensors(path_ / "model.safetensors", weights);
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

const std::filesystem::path& folder() {
  static const Folder folder;
  return folder.path();
}

void load(benchmark::State& state, const char* dtype, WeightStorage storage) {
  const bool looks = state.range(0) != 0;
  const auto before = base::read_process_memory().value_or(base::ProcessMemory());
  folder();
  for (auto _ : state) {
    const CausalModel model = CausalModel::load(folder(), dtype, storage);
    if (looks) {
      for (const auto& [name, weight] : model.parameters()) benchmark::DoNotOptimize(weight.sum().item<float>());
    }
    state.PauseTiming();
    const auto after = base::read_process_memory().value_or(base::ProcessMemory());
    state.counters["rss_mib"] = static_cast<double>(after.resident_bytes - before.resident_bytes) / (1 << 20);
    state.counters["pss_mib"] = static_cast<double>(after.proportional_bytes - before.proportional_bytes) / (1 << 20);
    state.ResumeTiming();
  }
}
BENCHMARK_CAPTURE(load, mapped, "bfloat16", WeightStorage::mapped)
    ->ArgName("looks")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, copied, "bfloat16", WeightStorage::owned)
    ->ArgName("looks")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(load, converted, "float32", WeightStorage::mapped)
    ->ArgName("looks")
    ->Arg(0)
    ->Arg(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace rosa::models

int main(int argc, char** argv) {
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
}
