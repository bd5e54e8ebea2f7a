#include "launch/plan_report.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "launch/host_facts.h"
#include "launch/plan_display.h"
#include "launch/progress.h"

namespace rosa::launch {
namespace {

using base::concat;
using nlohmann::json;
using training::PlanInput;
using training::RunPlan;

// The findings of one plan.
class PlanText {
 public:
  explicit PlanText(const PlanView& view)
      : view_(view), config_(view.input.config), input_(view.input), plan_(view.plan), fit_(view.fit) {}

  void print() const {
    int num_warnings = 0;
    const auto show = [&](const std::string& title, const std::vector<Finding>& findings) {
      num_warnings += print_findings(title, findings);
    };
    show("Run", run());
    show("Memory of a rank", memory_findings(plan_.memory, view_.ranks_of_host));
    show("What fits", what_fits());
    if (input_.num_ranks > 1) show("Network", network());
    show("Disk", disk());
    show("Data", data());
    print_warning_count(num_warnings);
  }

  json as_json() const {
    const training::MemoryKinds& step = plan_.memory.fullest_step();
    json epochs = json::object();
    for (const auto& [name, count] : view_.data.epochs) epochs[name.empty() ? "train" : name] = count;
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
              {"base_wire_bytes_by_rank", plan_.base_wire.by_rank},
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
              {"peak_of_ranks", plan_.memory.peak_of_ranks(view_.ranks_of_host)},
              {"device_peak", plan_.memory.device_peak()}}},
            {"fit",
             {{"memory_bytes", fit_.memory_bytes},
              {"fits", fit_.fits},
              {"micro_batch_sequences", fit_.as_configured},
              {"with_checkpointing", fit_.checkpointed},
              {"with_sharded_optimizer", fit_.sharded},
              {"with_both", fit_.both}}},
            {"checkpoint",
             {{"bytes", plan_.checkpoint_bytes}, {"count", plan_.num_checkpoints}, {"free_bytes", view_.free_bytes}}},
            {"data",
             {{"sequences", view_.data.num_sequences ? json(*view_.data.num_sequences) : json()}, {"epochs", epochs}}}};
  }

 private:
  bool is_full() const { return config_.train.activation_checkpointing == models::ActivationCheckpointing::full; }
  // Of the layers once more: as a whole, in pieces, or both.
  double recomputation() const {
    return plan_.flops.recomputation *
           (static_cast<double>(is_full()) + static_cast<double>(config_.train.sequence_chunk > 0));
  }

  // Between hosts, or of one rank where there is one host.
  double wire_seconds() const {
    const double bytes = input_.num_hosts > 1 ? plan_.wire.by_host : plan_.wire.by_rank;
    return bytes * 8 / (view_.bandwidth_gbit * 1e9);
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
      parts += concat(", and ", quantity_text(recomputation()), "FLOP again in the backward");
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
                       view_.memory_is_given ? " a rank, as --memory says" : " a rank, of what this host has free"),
                ""};
    if (!fit_.fits) own.warning = "the run does not fit" + advice();
    findings.push_back(own);
    findings.push_back({"as configured", "at most " + micro_batch_text(fit_.as_configured), ""});
    if (!is_full()) {
      findings.push_back({"with train.activation_checkpointing", micro_batch_text(fit_.checkpointed), ""});
    }
    if (!config_.parallel.sharded_optimizer && input_.num_ranks > 1) {
      findings.push_back({"with parallel.sharded_optimizer", micro_batch_text(fit_.sharded), ""});
      if (!is_full()) findings.push_back({"with both", micro_batch_text(fit_.both), ""});
    }
    return findings;
  }

  // What would make it fit, the cheapest first.
  std::string advice() const {
    const int64_t wanted = config_.train.micro_batch_sequences;
    const bool can_shard = input_.num_ranks > 1 && !config_.parallel.sharded_optimizer;
    if (can_shard && fit_.sharded >= wanted) return "; parallel.sharded_optimizer: true would make it fit";
    if (fit_.checkpointed >= wanted) return "; train.activation_checkpointing: full would make it fit";
    if (can_shard && fit_.both >= wanted) {
      return "; parallel.sharded_optimizer and train.activation_checkpointing: full together would make it fit";
    }
    if (fit_.both > 0) {
      return concat("; a micro-batch of ", fit_.both, " fits with train.activation_checkpointing: full",
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
    if (plan_.base_wire.by_rank > 0) {
      findings.push_back({"of it for the base",
                          concat(size_text(static_cast<int64_t>(plan_.base_wire.by_rank)),
                                 ": layers that ranks share out (parallel.shard_base)"),
                          ""});
    }
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), "%.3g s at %.3g Gbit/s", wire_seconds(), view_.bandwidth_gbit);
    findings.push_back({"time", text.data(), ""});
    return findings;
  }

  std::vector<Finding> disk() const {
    const int64_t needed = plan_.checkpoint_bytes * plan_.num_checkpoints;
    Finding finding{"checkpoints",
                    concat(size_text(plan_.checkpoint_bytes), " each, at most ", plan_.num_checkpoints, " at once: ",
                           size_text(needed), ", ", size_text(view_.free_bytes), " free for ", config_.run.folder),
                    ""};
    if (needed > view_.free_bytes) {
      finding.warning = "the disk is too small: free some space, or keep fewer checkpoints (checkpoint.keep_last)";
    }
    return {finding};
  }

  std::vector<Finding> data() const {
    if (!view_.data.warning.empty()) return {{"training data", "", view_.data.warning}};
    if (view_.data.epochs.empty()) return {{"training data", view_.data.text, ""}};
    std::vector<Finding> findings;
    for (const auto& [name, epochs] : view_.data.epochs) {
      std::array<char, 32> text{};
      std::snprintf(text.data(), text.size(), "%.3g epochs", epochs);
      std::string value = text.data();
      if (view_.data.num_sequences) value = concat(*view_.data.num_sequences, " sequences; the steps make ", value);
      findings.push_back({name.empty() ? "training data" : name, value, ""});
    }
    return findings;
  }

  const PlanView& view_;
  const training::RunConfig& config_;
  const PlanInput& input_;
  const RunPlan& plan_;
  const PlanFit& fit_;
};

}  // namespace

void print_plan(const PlanView& view) { PlanText(view).print(); }

nlohmann::json plan_json(const PlanView& view) { return PlanText(view).as_json(); }

void PlanTotals::add(const training::Stage& stage, const RunPlan& plan, bool on_gpu) {
  const double tokens = static_cast<double>(plan.tokens_per_step) * static_cast<double>(stage.config.train.num_steps);
  num_steps += stage.config.train.num_steps;
  num_tokens += tokens;
  flops += plan.flops.total() * tokens;
  checkpoint_bytes = std::max(checkpoint_bytes, plan.checkpoint_bytes);
  num_checkpoints = stage.config.checkpoint.keep_last > 0 ? std::max(num_checkpoints, plan.num_checkpoints)
                                                          : num_checkpoints + plan.num_checkpoints;
  const int64_t peak = on_gpu ? plan.memory.device_peak() : plan.memory.host_peak();
  if (peak <= peak_bytes) return;
  peak_bytes = peak;
  fullest = stage.name;
}

std::vector<Finding> PlanTotals::findings() const {
  return {{"all steps",
           concat(num_steps, " steps, ", quantity_text(num_tokens), " tokens, ", quantity_text(flops), "FLOP"), ""},
          {"most memory of a rank", concat(size_text(peak_bytes), ", in stage ", fullest), ""},
          {"checkpoints",
           concat("at most ", num_checkpoints, " at once: ", size_text(num_checkpoints * checkpoint_bytes)), ""}};
}

json PlanTotals::as_json() const {
  return {{"steps", num_steps},
          {"tokens", num_tokens},
          {"flops", flops},
          {"peak_bytes", peak_bytes},
          {"checkpoint_bytes", checkpoint_bytes},
          {"num_checkpoints", num_checkpoints},
          {"fullest_stage", fullest}};
}

}  // namespace rosa::launch
