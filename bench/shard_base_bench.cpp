// What parallel.shard_base costs and saves: memory of a rank and time of a step, of a random base model.
//   mpirun -np N build/bench/shard_base_bench none|node|all float32|bfloat16 [STEPS]
// The model's file is float32: float32 is mapped, bfloat16 converted into memory of each rank's own.
#include <ATen/Parallel.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "base/process_memory.h"
#include "models/export.h"
#include "parallel/mpi_communicator.h"
#include "parallel/mpi_session.h"
#include "training/run_objects.h"
#include "training/trainer.h"

int main(int argc, char** argv) {
  using namespace rosa;  // NOLINT(google-build-using-namespace): one function
  const parallel::MpiSession session(&argc, &argv);
  const auto communicator = parallel::make_mpi_communicator();
  const int num_steps = argc > 3 ? std::atoi(argv[3]) : 6;
  training::RunConfig config;
  config.model.folder = std::filesystem::temp_directory_path() / ("rosa_shard_base_" + std::to_string(getuid()));
  if (communicator->rank() == 0) {
    models::ModelConfig model;
    model.vocab_size = 4096;
    model.hidden_size = 768;
    model.intermediate_size = 2304;
    model.num_hidden_layers = 12;
    model.num_attention_heads = 12;
    model.num_key_value_heads = 6;
    model.head_dim = 64;
    model.tie_word_embeddings = true;
    models::export_model(models::CausalModel::random(model, 1), config.model.folder);
  }
  communicator->barrier();
  config.parallel.shard_base = argc > 1 ? argv[1] : "none";
  config.model.compute_dtype = argc > 2 ? argv[2] : "float32";
  config.run.folder = "unused";
  config.data.kind = training::DataKind::phrases;
  config.data.sequence_length = 256;
  config.student.sliding_window = 64;
  config.train.micro_batches = 2;
  config.train.num_steps = num_steps;
  config.evaluation.every = 0;
  {
    training::RunObjects objects = training::build_run(config, training::Objective::distill, *communicator);
    training::Trainer trainer(config, objects.parts(*communicator));
    std::vector<double> times, waits;
    training::StepMetrics last;
    for (int step = 0; step < num_steps; ++step) {
      last = trainer.step(step);
      if (step < 2) continue;
      times.push_back(last.step_ms);
      waits.push_back(last.base_gather_wait_ms.value_or(0.0));
    }
    std::sort(times.begin(), times.end());
    std::sort(waits.begin(), waits.end());
    const auto memory = base::read_process_memory();
    constexpr double kMiB = 1 << 20;
    if (communicator->rank() == 0) {
      std::printf(
          "%s %s, %d ranks: loss %.17g, PSS %.0f MiB, parts and layers %.0f MiB, received a step %.0f MiB, step "
          "%.0f ms, waiting for layers %.0f ms (medians)\n",
          config.parallel.shard_base.c_str(), config.model.compute_dtype.c_str(), communicator->world_size(), last.loss,
          static_cast<double>(memory ? memory->proportional_bytes : 0) / kMiB,
          static_cast<double>(last.base_part_bytes.value_or(0)) / kMiB,
          static_cast<double>(last.base_gather_bytes.value_or(0)) / kMiB, times[times.size() / 2],
          waits[waits.size() / 2]);
    }
    communicator->barrier();
  }
  if (communicator->rank() == 0) std::filesystem::remove_all(config.model.folder);
  return 0;
}
