// `rosa plan`: what a run will need and do, before anything is loaded.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "base/cores.h"
#include "base/error.h"
#include "launch/command.h"
#include "launch/exit_code.h"
#include "launch/findings.h"
#include "launch/host_facts.h"
#include "launch/plan_report.h"
#include "launch/run_config_file.h"
#include "training/data/data_source.h"
#include "training/plan/run_plan.h"
#include "training/run_rules.h"

namespace rosa::launch {
namespace {

namespace fs = std::filesystem;
using base::concat;
using nlohmann::json;
using training::Objective;
using training::PlanInput;
using training::RunPlan;

struct PlanOptions {
  std::string file, device;
  std::vector<std::string> overrides;
  int ranks = 1, hosts = 1;
  double memory_gib = 0.0;  // of a rank; 0: what this host has, shared by its ranks
  double bandwidth_gbit = 10.0;
  bool pretrain = false, as_json = false;
};

bool plans_for_gpu(const PlanOptions& options, const training::RunConfig& config) {
  // auto means a GPU only where there is one to look at, and a plan looks at none.
  return options.device.empty() ? config.compute.device == "cuda" : options.device == "gpu";
}

// `shared_bytes` of what it takes are every rank's of the host.
int64_t memory_of_rank(const PlanOptions& options, bool on_gpu, int64_t shared_bytes) {
  if (options.memory_gib > 0) return static_cast<int64_t>(options.memory_gib * (1 << 30));
  if (on_gpu) return 0;  // which GPU is not known
  const HostFacts facts = read_host_facts();
  int64_t bytes = facts.available_memory_bytes;
  if (facts.cgroup_memory_bytes > 0) bytes = std::min(bytes, facts.cgroup_memory_bytes);
  return std::max<int64_t>(0, bytes - shared_bytes) / options.ranks + std::min(bytes, shared_bytes);
}

int64_t automaton_threads(const PlanOptions& options, const training::RunConfig& config) {
  if (config.compute.automaton_threads > 0) return config.compute.automaton_threads;
  const int64_t share = usable_cores(read_host_facts()) / options.ranks;
  return std::max<int64_t>(1, share - config.compute.threads);
}

// Opens token files, which costs nothing; texts are not read. Throws ConfigError for tokens that the model lacks.
PlanData data_facts(const training::Stage& stage, const models::ModelConfig& model) {
  const training::RunConfig& config = stage.config;
  const int64_t per_step = config.train.micro_batches * config.train.micro_batch_sequences;
  PlanData facts;
  if (config.data.kind != training::DataKind::token_file) {
    facts.text = concat(config.train.num_steps * per_step, " sequences, drawn at random: there are no epochs");
    return facts;
  }
  std::vector<std::string> missing;
  std::vector<std::string> paths = {config.data.train_path};
  for (const training::DataSourceEntry& entry : config.data.sources) paths.push_back(entry.path);
  for (const std::string& path : paths) {
    std::error_code error;
    if (!path.empty() && !fs::exists(path, error)) missing.push_back(path);
  }
  if (!missing.empty()) {
    facts.warning = concat(missing.front(),
                           " is not there yet (rosa data pack makes it): sequences and epochs are "
                           "not known");
    return facts;
  }
  training::DataConfig data = config.data;
  data.verify_tokens = false;
  const auto source =
      training::make_data_source(data, training::DataSplit::train, static_cast<uint64_t>(config.run.seed), per_step);
  const char* const key = config.data.sources.empty() ? "data.train_path" : "data.sources";
  base::ConfigProblems problems;
  training::check_with_data(problems, config.data, *source, key, model);
  problems.throw_if_any(stage.origin);
  facts.num_sequences = source->num_sequences_of_file();
  const std::vector<std::string> names = source->source_names();
  if (!names.empty()) {
    const std::vector<double> epochs = source->source_epochs(config.train.num_steps);
    for (std::size_t i = 0; i < names.size(); ++i) facts.epochs.emplace_back(names[i], epochs[i]);
  } else if (facts.num_sequences) {
    facts.epochs.emplace_back(
        "", static_cast<double>(config.train.num_steps * per_step) / static_cast<double>(*facts.num_sequences));
  }
  return facts;
}

PlanFit find_fit(const PlanInput& input, const RunPlan& plan, int64_t memory_bytes) {
  PlanFit fit;
  fit.memory_bytes = memory_bytes;
  if (memory_bytes == 0) return fit;
  const int64_t peak = input.on_gpu ? plan.memory.device_peak() : plan.memory.host_peak();
  fit.fits = peak <= memory_bytes;
  const models::ActivationCheckpointing checkpoints = input.config.train.activation_checkpointing;
  const bool shards = input.config.parallel.sharded_optimizer;
  const auto largest = [&](models::ActivationCheckpointing checkpointing, bool sharded) {
    return training::largest_micro_batch(input, checkpointing, sharded, memory_bytes);
  };
  fit.as_configured = largest(checkpoints, shards);
  fit.checkpointed = largest(models::ActivationCheckpointing::full, shards);
  fit.sharded = largest(checkpoints, true);
  fit.both = largest(models::ActivationCheckpointing::full, true);
  return fit;
}

// Prints the plan of a run, or of one of its stages; or adds it to `result` as JSON.
void plan_stage(const PlanOptions& options, const training::Stage& stage, json& result, PlanTotals& totals) {
  const Objective objective = options.pretrain ? Objective::pretrain : Objective::distill;
  const training::RunConfig& config = stage.config;
  const models::ModelConfig model = training::model_config_of(config, objective);
  const std::optional<models::ModelConfig> teacher = training::teacher_config_of(config);
  const int num_ranks = options.ranks * options.hosts;
  base::ConfigProblems problems;
  training::check_sizes_with_model(problems, config, objective, model, num_ranks);
  problems.throw_if_any(stage.origin);
  const bool on_gpu = plans_for_gpu(options, config);
  const PlanInput input{.config = config,
                        .objective = objective,
                        .model = model,
                        .own_teacher = teacher ? &*teacher : nullptr,
                        .num_ranks = num_ranks,
                        .num_hosts = options.hosts,
                        .on_gpu = on_gpu,
                        .automaton_threads = automaton_threads(options, config)};
  const RunPlan plan = training::plan_run(input);
  totals.add(stage, plan, on_gpu);
  const PlanView view{.input = input,
                      .plan = plan,
                      .fit = find_fit(input, plan, memory_of_rank(options, on_gpu, plan.memory.fullest_step().mapped)),
                      .data = data_facts(stage, model),
                      .free_bytes = free_disk_bytes(existing_part_of(config.run.folder)),
                      .ranks_of_host = options.ranks,
                      .memory_is_given = options.memory_gib > 0,
                      .bandwidth_gbit = options.bandwidth_gbit};
  if (options.as_json) {
    result.push_back(plan_json(view));
    if (!stage.name.empty()) result.back()["stage"] = stage.name;
  } else {
    print_plan(view);
  }
}

int run_plan(const PlanOptions& options) {
  const training::Stages stages =
      load_run_config(options.file, options.overrides, options.pretrain ? ConfigUse::pretrain : ConfigUse::distill)
          .stages;
  json result = json::array();
  PlanTotals totals;
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const std::string title = training::stage_title(stages, i);
    if (!title.empty() && !options.as_json) std::cout << (i == 0 ? "" : "\n") << "== " << title << "\n\n";
    plan_stage(options, stages[i], result, totals);
  }
  const bool has_stages = !stages.front().name.empty();
  if (options.as_json) {
    const json all = has_stages ? json{{"stages", result}, {"total", totals.as_json()}} : result.front();
    std::cout << all.dump(2) << std::endl;
  } else if (has_stages) {
    std::cout << "\n== all stages\n\n";
    print_findings("Run", totals.findings());
  }
  return kExitOk;
}

}  // namespace

void add_plan_command(CLI::App& program, Action& action) {
  CLI::App* command = program.add_subcommand(
      "plan", "Before anything is loaded: memory by kind, work, bytes on wire and disk, epochs, and what would fit.");
  const auto options = std::make_shared<PlanOptions>();
  command->add_option("CONFIG", options->file, "YAML configuration (docs/configuration.md)")->required();
  add_override_option(*command, options->overrides);
  command->add_option("-n,--ranks", options->ranks, "ranks of a host, as of launch/run_local.sh and run_hosts.sh")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--hosts", options->hosts, "how many hosts, each with as many ranks")
      ->check(CLI::Range(1, 1 << 16))
      ->capture_default_str();
  command->add_option("--device", options->device, "cpu or gpu; without it, as compute.device says (auto: cpu)")
      ->check(CLI::IsMember({"cpu", "gpu"}));
  command
      ->add_option("--memory", options->memory_gib,
                   "GiB that a rank may take, of its GPU where there is one; without it, its share of what this "
                   "host has free")
      ->check(CLI::Range(0.001, 1e6))
      ->type_name("GIB");
  command->add_option("--bandwidth", options->bandwidth_gbit, "Gbit/s of a host's network")
      ->check(CLI::Range(1e-6, 1e6))
      ->type_name("GBIT")
      ->capture_default_str();
  command->add_flag("--pretrain", options->pretrain, "plans rosa pretrain in place of rosa train");
  command->add_flag("--json", options->as_json, "writes the figures as JSON, sizes in bytes");
  command->footer(
      "Of the model's folder config.json suffices. A dry run measures what this computes: rosa train CONFIG "
      "--dry-run.\n"
      "  rosa plan run.yaml\n"
      "  rosa plan run.yaml -n 8 --hosts 4 --device gpu --memory 80 --set train.micro_batch_sequences=4\n"
      "What the figures mean: docs/planning.md.");
  command->callback([&action, options] { action = [options] { return run_plan(*options); }; });
}

}  // namespace rosa::launch
