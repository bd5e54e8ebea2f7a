// `rosa plan`: what a run will need and do, before anything is loaded.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
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
#include "launch/plan_display.h"
#include "launch/progress.h"
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

// The training data, as far as its headers tell.
struct DataFacts {
  std::optional<int64_t> num_sequences;
  std::vector<std::pair<std::string, double>> epochs;  // of the run, by source; one without a name: of the only one
  std::string text, warning;
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
DataFacts data_facts(const training::Stage& stage, const models::ModelConfig& model) {
  const training::RunConfig& config = stage.config;
  const int64_t per_step = config.train.micro_batches * config.train.micro_batch_sequences;
  DataFacts facts;
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

// What a micro-batch may be, by the two ways to make room.
struct Fit {
  int64_t memory_bytes = 0;  // of a rank; 0: not known, and so is the rest
  bool fits = false;
  int64_t as_configured = 0, checkpointed = 0, sharded = 0, both = 0;
};

Fit find_fit(const PlanInput& input, const RunPlan& plan, int64_t memory_bytes) {
  Fit fit;
  fit.memory_bytes = memory_bytes;
  if (memory_bytes == 0) return fit;
  const int64_t peak = input.on_gpu ? plan.memory.device_peak() : plan.memory.host_peak();
  fit.fits = peak <= memory_bytes;
  const bool checkpoints = input.config.train.activation_checkpointing;
  const bool shards = input.config.parallel.sharded_optimizer;
  const auto largest = [&](bool checkpointing, bool sharded) {
    return training::largest_micro_batch(input, checkpointing, sharded, memory_bytes);
  };
  fit.as_configured = largest(checkpoints, shards);
  fit.checkpointed = largest(true, shards);
  fit.sharded = largest(checkpoints, true);
  fit.both = largest(true, true);
  return fit;
}

class Display {
 public:
  Display(const PlanOptions& options, const PlanInput& input, const RunPlan& plan, const Fit& fit,
          const DataFacts& data, int64_t free_bytes)
      : options_(options),
        config_(input.config),
        input_(input),
        plan_(plan),
        fit_(fit),
        data_(data),
        free_bytes_(free_bytes) {}

  void print() const {
    int num_warnings = 0;
    const auto show = [&](const std::string& title, const std::vector<Finding>& findings) {
      num_warnings += print_findings(title, findings);
    };
    show("Run", run());
    show("Memory of a rank", memory_findings(plan_.memory, options_.ranks));
    show("What fits", what_fits());
    if (input_.num_ranks > 1) show("Network", network());
    show("Disk", disk());
    show("Data", data());
    print_warning_count(num_warnings);
  }

  json as_json() const {
    const training::MemoryKinds& step = plan_.memory.fullest_step();
    json epochs = json::object();
    for (const auto& [name, count] : data_.epochs) epochs[name.empty() ? "train" : name] = count;
    return {{"ranks", input_.num_ranks},
            {"hosts", input_.num_hosts},
            {"device", input_.on_gpu ? "gpu" : "cpu"},
            {"weights",
             {{"base", plan_.num_base},
              {"adapters", plan_.num_adapter},
              {"lora", plan_.num_lora},
              {"trained", plan_.num_trained}}},
            {"step",
             {{"sequences", plan_.sequences_per_step},
              {"tokens", plan_.tokens_per_step},
              {"model_flops", plan_.flops_per_step()},
              {"wire_bytes_by_rank", plan_.wire.by_rank},
              {"wire_bytes_by_host", plan_.wire.by_host},
              {"wire_seconds", wire_seconds()}}},
            {"token_flops",
             {{"teacher_forward", plan_.flops.teacher_forward},
              {"student_forward", plan_.flops.student_forward},
              {"student_backward", plan_.flops.student_backward},
              {"recomputation", recomputation()}}},
            {"memory_bytes",
             {{"process", step.process},
              {"allocator", step.allocator},
              {"data", step.data},
              {"mapped", step.mapped},
              {"base", step.base},
              {"adapters", step.adapters},
              {"gradients", step.gradients},
              {"optimizer", step.optimizer},
              {"activations", step.activations},
              {"loss", step.loss},
              {"automata", step.automata},
              {"staging", step.staging},
              {"communication", step.communication},
              {"loading", plan_.memory.loading.total()},
              {"saving", plan_.memory.saving},
              {"host_peak", plan_.memory.host_peak()},
              {"peak_of_ranks", plan_.memory.peak_of_ranks(options_.ranks)},
              {"device_peak", plan_.memory.device_peak()}}},
            {"fit",
             {{"memory_bytes", fit_.memory_bytes},
              {"fits", fit_.fits},
              {"micro_batch_sequences", fit_.as_configured},
              {"with_checkpointing", fit_.checkpointed},
              {"with_sharded_optimizer", fit_.sharded},
              {"with_both", fit_.both}}},
            {"checkpoint",
             {{"bytes", plan_.checkpoint_bytes}, {"count", plan_.num_checkpoints}, {"free_bytes", free_bytes_}}},
            {"data", {{"sequences", data_.num_sequences ? json(*data_.num_sequences) : json()}, {"epochs", epochs}}}};
  }

 private:
  double recomputation() const { return config_.train.activation_checkpointing ? plan_.flops.recomputation : 0.0; }

  // Between hosts, or of one rank where there is one host.
  double wire_seconds() const {
    const double bytes = input_.num_hosts > 1 ? plan_.wire.by_host : plan_.wire.by_rank;
    return bytes * 8 / (options_.bandwidth_gbit * 1e9);
  }

  std::vector<Finding> run() const {
    std::vector<Finding> findings;
    const std::string ranks =
        concat(input_.num_ranks, input_.num_ranks == 1 ? " rank on " : " ranks on ", input_.num_hosts,
               input_.num_hosts == 1 ? " host, " : " hosts, ", input_.on_gpu ? "gpu" : "cpu");
    findings.push_back({"ranks", ranks, ""});
    std::string weights = concat(quantity_text(static_cast<double>(plan_.num_base)), " of the base");
    if (plan_.num_adapter > 0) {
      weights += concat(", ", quantity_text(static_cast<double>(plan_.num_adapter)), " of the adapters");
    }
    if (plan_.num_lora > 0) {
      weights += concat(", ", quantity_text(static_cast<double>(plan_.num_lora)), " of the low-rank adaptation");
    }
    findings.push_back(
        {"weights", concat(weights, "; ", quantity_text(static_cast<double>(plan_.num_trained)), " trained"), ""});
    findings.push_back({"a step",
                        concat(plan_.sequences_per_step, " sequences, ", plan_.tokens_per_step, " tokens, ",
                               quantity_text(plan_.flops_per_step()), "FLOP"),
                        ""});
    std::string parts = plan_.flops.teacher_forward > 0
                            ? concat(quantity_text(plan_.flops.teacher_forward), "FLOP the teacher, ")
                            : std::string();
    parts += concat(quantity_text(plan_.flops.student_forward), "FLOP forward, ",
                    quantity_text(plan_.flops.student_backward), "FLOP backward");
    if (recomputation() > 0) {
      parts += concat(", and ", quantity_text(recomputation()), "FLOP again for checkpointing");
    }
    findings.push_back({"a token", parts, ""});
    const double all = static_cast<double>(plan_.tokens_per_step) * static_cast<double>(config_.train.num_steps);
    findings.push_back({"all steps",
                        concat(config_.train.num_steps, " steps, ", quantity_text(all), " tokens, ",
                               quantity_text(plan_.flops.total() * all), "FLOP"),
                        ""});
    return findings;
  }

  std::string micro_batch_text(int64_t largest) const {
    if (largest == 0) return "not even one sequence";
    return concat(largest, largest == 1 ? " sequence" : " sequences", " in a micro-batch");
  }

  std::vector<Finding> what_fits() const {
    if (fit_.memory_bytes == 0) {
      return {{"memory", "not known: --memory GIB says what the GPU of a rank has", ""}};
    }
    std::vector<Finding> findings;
    Finding own{"memory",
                concat(size_text(fit_.memory_bytes),
                       options_.memory_gib > 0 ? " a rank, as --memory says" : " a rank, of what this host has free"),
                ""};
    if (!fit_.fits) own.warning = "the run does not fit" + advice();
    findings.push_back(own);
    findings.push_back({"as configured", "at most " + micro_batch_text(fit_.as_configured), ""});
    if (!config_.train.activation_checkpointing) {
      findings.push_back({"with train.activation_checkpointing", micro_batch_text(fit_.checkpointed), ""});
    }
    if (!config_.parallel.sharded_optimizer && input_.num_ranks > 1) {
      findings.push_back({"with parallel.sharded_optimizer", micro_batch_text(fit_.sharded), ""});
      if (!config_.train.activation_checkpointing) findings.push_back({"with both", micro_batch_text(fit_.both), ""});
    }
    return findings;
  }

  // What would make it fit, the cheapest first.
  std::string advice() const {
    const int64_t wanted = config_.train.micro_batch_sequences;
    const bool can_shard = input_.num_ranks > 1 && !config_.parallel.sharded_optimizer;
    if (can_shard && fit_.sharded >= wanted) return "; parallel.sharded_optimizer: true would make it fit";
    if (fit_.checkpointed >= wanted) return "; train.activation_checkpointing: true would make it fit";
    if (can_shard && fit_.both >= wanted) {
      return "; parallel.sharded_optimizer and train.activation_checkpointing together would make it fit";
    }
    if (fit_.both > 0) {
      return concat("; a micro-batch of ", fit_.both, " fits with train.activation_checkpointing",
                    can_shard ? " and parallel.sharded_optimizer" : "");
    }
    return "; a smaller loss.chunk_bytes, shorter sequences, fewer ranks on a host or a smaller model would need less";
  }

  std::vector<Finding> network() const {
    std::vector<Finding> findings = {
        {"a step", concat("a rank sends ", size_text(static_cast<int64_t>(plan_.wire.by_rank))), ""}};
    if (input_.num_hosts > 1) {
      findings.front().value += concat(", a host ", size_text(static_cast<int64_t>(plan_.wire.by_host)), " to others");
    }
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.3g s at %.3g Gbit/s", wire_seconds(), options_.bandwidth_gbit);
    findings.push_back({"time", text.data(), ""});
    return findings;
  }

  std::vector<Finding> disk() const {
    const int64_t needed = plan_.checkpoint_bytes * plan_.num_checkpoints;
    Finding finding{"checkpoints",
                    concat(size_text(plan_.checkpoint_bytes), " each, at most ", plan_.num_checkpoints, " at once: ",
                           size_text(needed), ", ", size_text(free_bytes_), " free for ", config_.run.folder),
                    ""};
    if (needed > free_bytes_) {
      finding.warning = "the disk is too small: free some space, or keep fewer checkpoints (checkpoint.keep_last)";
    }
    return {finding};
  }

  std::vector<Finding> data() const {
    if (!data_.warning.empty()) return {{"training data", "", data_.warning}};
    if (data_.epochs.empty()) return {{"training data", data_.text, ""}};
    std::vector<Finding> findings;
    for (const auto& [name, epochs] : data_.epochs) {
      std::array<char, 32> text{};
      std::snprintf(text.data(), text.size(), "%.3g epochs", epochs);
      std::string value = text.data();
      if (data_.num_sequences) value = concat(*data_.num_sequences, " sequences; the steps make ", value);
      findings.push_back({name.empty() ? "training data" : name, value, ""});
    }
    return findings;
  }

  const PlanOptions& options_;
  const training::RunConfig& config_;
  const PlanInput& input_;
  const RunPlan& plan_;
  const Fit& fit_;
  const DataFacts& data_;
  int64_t free_bytes_;
};

// Prints the plan of a run, or of one of its stages; or adds it to `result` as JSON.
void plan_stage(const PlanOptions& options, const training::Stage& stage, json& result) {
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
  const Fit fit = find_fit(input, plan, memory_of_rank(options, on_gpu, plan.memory.fullest_step().mapped));
  const DataFacts data = data_facts(stage, model);
  const Display display(options, input, plan, fit, data, free_disk_bytes(existing_part_of(config.run.folder)));
  if (options.as_json) {
    result.push_back(display.as_json());
    if (!stage.name.empty()) result.back()["stage"] = stage.name;
  } else {
    display.print();
  }
}

int run_plan(const PlanOptions& options) {
  const training::Stages stages =
      load_run_config(options.file, options.overrides, options.pretrain ? ConfigUse::pretrain : ConfigUse::distill)
          .stages;
  json result = json::array();
  for (std::size_t i = 0; i < stages.size(); ++i) {
    const std::string title = training::stage_title(stages, i);
    if (!title.empty() && !options.as_json) std::cout << (i == 0 ? "" : "\n") << "== " << title << "\n\n";
    plan_stage(options, stages[i], result);
  }
  if (options.as_json) {
    const bool has_stages = !stages.front().name.empty();
    std::cout << (has_stages ? json{{"stages", result}} : result.front()).dump(2) << std::endl;
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
