// The figures of a report: which curves an experiment has, on which axes, in which panels. Each is empty where the
// experiment holds nothing for it. Panels of one figure share their axes.
#pragma once

#include <string>

#include "report/appearance.h"
#include "report/experiment/experiment.h"
#include "report/markup.h"

namespace rosa::report {

class Figures {
 public:
  // All must outlive it. `id_prefix` keeps the ids of several experiments on a page apart.
  Figures(const Experiment& experiment, const Appearance& appearance, std::string id_prefix)
      : experiment_(experiment), appearance_(appearance), id_prefix_(std::move(id_prefix)) {}

  // Each arm's loss at equal steps and at equal time: a dot a seed, the control as a line.
  Markup final_loss() const;
  // Training loss against steps and against seconds.
  Markup loss_curves() const;
  // Variance against the number of samples, at the newest study.
  Markup variance_by_samples() const;
  // Variance during training, at each arm's number of samples.
  Markup variance_by_step() const;
  Markup linearisation() const;
  // Accuracy against distance, in the recall task.
  Markup accuracy_by_distance() const;
  // Time against length, a panel for each family of inputs.
  Markup timing() const;

 private:
  const Experiment& experiment_;
  const Appearance& appearance_;
  std::string id_prefix_;
};

}  // namespace rosa::report
