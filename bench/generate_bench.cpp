// Tokens per second of a generation at given shapes with random weights, and the bytes that it keeps. Its own timing:
// generate_bench.py runs it beside transformers, in turns, and makes the table.
//   generate_bench FOLDER (float32|bfloat16) WINDOW THREADS   then, a line each on standard input:
//   KIND CONTEXT TOKENS SPECULATION   KIND: rosa, window or teacher; SPECULATION: off, on or auto
// FOLDER holds a config.json. Answers each line with the seconds between the first and the last token, the bytes of the
// text behind the prompt, and what was drafted. With REPEAT as the context's suffix ("4096r") the prompt repeats.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <stdlib.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <map>
#include <string>

#include "models/adapter.h"
#include "models/causal_model.h"
#include "models/continue_texts.h"
#include "models/generator.h"

namespace rosa::models {
namespace {

using Clock = std::chrono::steady_clock;

CausalModel random_model(const ModelConfig& config, at::ScalarType dtype) {
  std::map<std::string, at::Tensor> weights;
  for (const auto& [name, shape] : parameter_shapes(config)) {
    at::Tensor tensor = at::empty(shape, dtype);
    weights[name] = shape.size() == 1 ? tensor.fill_(1) : tensor.normal_(0, 0.02);
  }
  return CausalModel(config, std::move(weights));
}

struct Setup {
  CausalModel model;
  AdapterSet adapters;
  HostExecutor executor;
  int64_t window;
};

void serve(Setup& setup) {
  std::string kind, context_text, speculation;
  int64_t num_tokens = 0;
  std::map<std::string, Generator> filled;  // prompts are read once
  std::map<std::string, std::vector<int64_t>> prompts;
  while (std::cin >> kind >> context_text >> num_tokens >> speculation) {
    const std::string key = kind + context_text;
    const int64_t context = std::atoll(context_text.c_str());
    ForwardOptions options;
    if (kind != "teacher") options.sliding_window = setup.window;
    if (kind == "rosa") {
      options.adapters = &setup.adapters;
      options.executor = &setup.executor;
    }
    const auto prefill_start = Clock::now();
    if (!filled.contains(key)) {
      const int64_t period = context_text.ends_with('r') ? std::min<int64_t>(context, 24) : context;
      const at::Tensor ids = at::randint(0, setup.model.config().vocab_size, {period}, at::kLong);
      std::vector<int64_t> prompt;
      for (int64_t i = 0; i < context; ++i) prompt.push_back(ids.const_data_ptr<int64_t>()[i % period]);
      Generator generator(setup.model, options, 1);
      generator.append(std::vector<std::vector<int64_t>>{{prompt.begin(), prompt.end() - 1}});
      filled.emplace(key, std::move(generator));
      prompts[key] = std::move(prompt);
    }
    const std::chrono::duration<double> prefill = Clock::now() - prefill_start;
    Generator generator = filled.at(key).fork();
    std::vector<std::vector<int64_t>> texts = {prompts[key]};
    std::vector<GenerateOptions> choice(1);
    choice[0].max_new_tokens = num_tokens + 1;
    Clock::time_point first;
    int64_t count = 0;
    const ContinueStatistics statistics = continue_texts(generator, texts, choice,
                                                         speculation == "on"    ? Speculation::on
                                                         : speculation == "off" ? Speculation::off
                                                                                : Speculation::automatic,
                                                         [&](int64_t, int64_t) {
                                                           if (count++ == 0) first = Clock::now();
                                                           return true;
                                                         });
    const std::chrono::duration<double> seconds = Clock::now() - first;
    std::cout << seconds.count() << ' ' << generator.num_bytes() << ' ' << statistics.num_drafted << ' '
              << statistics.num_accepted << ' ' << prefill.count() << std::endl;
  }
}

}  // namespace
}  // namespace rosa::models

int main(int argc, char** argv) {
  using namespace rosa::models;
  if (argc != 5) {
    std::cerr << "generate_bench FOLDER (float32|bfloat16) WINDOW THREADS\n";
    return 2;
  }
  ::setenv("MKL_CBWR", "AUTO,STRICT", 0);  // as the program does
  const int threads = std::atoi(argv[4]);
  at::set_num_threads(threads);
  const ModelConfig config = load_model_config(argv[1]);
  const bool is_bfloat16 = std::string(argv[2]) == "bfloat16";
  Setup setup{random_model(config, is_bfloat16 ? at::kBFloat16 : at::kFloat), AdapterSet({}, config, 2),
              rosa::HostExecutor(threads), std::atoll(argv[3])};
  std::cout << "ready" << std::endl;
  serve(setup);
  return 0;
}
