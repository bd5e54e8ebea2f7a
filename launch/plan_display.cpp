#include "launch/plan_display.h"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/error.h"
#include "launch/host_facts.h"

namespace rosa::launch {

using base::concat;

std::string quantity_text(double value) {
  constexpr std::array<const char*, 6> kUnits = {"", " k", " M", " G", " T", " P"};
  std::size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1000;
    ++unit;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.3g%s", value, kUnits[unit]);
  return text.data();
}

std::vector<Finding> memory_findings(const training::MemoryPlan& memory, int64_t ranks_of_host) {
  const training::MemoryKinds& step = memory.fullest_step();
  std::vector<Finding> findings;
  for (const auto& [name, bytes] : {std::pair{"program and libraries", step.process},
                                    {"allocator", step.allocator},
                                    {"data", step.data},
                                    {"mapped weights, shared by ranks of a host", step.mapped},
                                    {"base model", step.base},
                                    {"adapters", step.adapters},
                                    {"gradients", step.gradients},
                                    {"optimiser", step.optimizer},
                                    {"activations", step.activations},
                                    {"loss", step.loss},
                                    {"automata", step.automata},
                                    {"staging buffers", step.staging},
                                    {"communication", step.communication}}) {
    if (bytes > 0) findings.push_back({name, size_text(bytes), ""});
  }
  if (memory.on_gpu)
    findings.push_back({"peak on the GPU", size_text(memory.device_peak()) + ", not measured yet", ""});
  const bool loads_more = !memory.on_gpu && memory.loading.total() == memory.host_peak();
  findings.push_back({memory.on_gpu ? "peak on the host" : "peak",
                      size_text(memory.host_peak()) + (loads_more ? ", while the model is loaded" : ""), ""});
  if (ranks_of_host > 1) {
    findings.push_back({concat(ranks_of_host, " ranks of a host"), size_text(memory.peak_of_ranks(ranks_of_host)), ""});
  }
  findings.push_back({"while saving", concat("up to ", size_text(memory.saving), " more"), ""});
  return findings;
}

std::string comparison_text(int64_t planned_bytes, int64_t measured_bytes) {
  const double share = (static_cast<double>(measured_bytes) / static_cast<double>(planned_bytes) - 1) * 100;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %% %s", std::abs(share), share < 0 ? "less" : "more");
  return concat("planned ", size_text(planned_bytes), ", measured ", size_text(measured_bytes), " (", text.data(), ")");
}

}  // namespace rosa::launch
