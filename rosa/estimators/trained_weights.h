// TrainedWeights: the trainable state of an estimator: one flat float32 tensor, gradients summed row by row in a fixed
// order whatever the threads, Adam, and what a checkpoint needs.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/stateful.h"

namespace rosa {

class TrainedWeights {
 public:
  TrainedWeights(std::string name, const std::vector<float>& initial, double learning_rate);

  int64_t size() const { return weights_.numel(); }
  const float* values() const { return weights_.const_data_ptr<float>(); }

  // Before a call's rows: room for the gradient of each, zeros.
  void begin(int64_t num_rows);
  // Of one row; each thread writes those of its own rows.
  std::span<float> row_gradient(int64_t row);
  // After the rows: adds their sum to the tensor's .grad.
  void finish();

  std::vector<std::pair<std::string, at::Tensor>> parameters() const { return {{name_, weights_}}; }
  // One step of Adam with the gradient divided by `num_rows`; then the gradient is zero.
  void update(double num_rows);

  base::StateDict save_state() const;
  // Throws CheckpointError, naming the entry, where it does not fit.
  void load_state(const base::StateDict& state);

 private:
  std::string name_;
  double learning_rate_;
  at::Tensor weights_, first_moment_, second_moment_;
  int64_t num_updates_ = 0;
  std::vector<float> row_gradients_;
};

}  // namespace rosa
