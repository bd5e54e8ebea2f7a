// The matches that a student's heads find in one row of a batch: for each position the longest of all layers and heads.
#pragma once

#include <cstdint>
#include <vector>

#include "models/adapter.h"
#include "models/causal_model.h"
#include "rosa/operator/host_executor.h"
#include "training/suite/symbol_matches.h"

namespace rosa::training {

// Of one forward of one row, in documents that begin at `document_starts`: lay watch() into its options. What the
// references name must outlive it.
class HeadMatches {
 public:
  HeadMatches(const models::AdapterSet& adapters, HostExecutor& executor, std::vector<int32_t> document_starts)
      : adapters_(adapters), executor_(executor), document_starts_(std::move(document_starts)) {}

  // For ForwardOptions::watch_adapter_inputs. Throws ArgumentError for a batch of several rows.
  void watch(int64_t layer, const at::Tensor& normed, const at::Tensor& first_input);

  // The best so far, of equally long ones the nearest; empty before the first layer.
  const SymbolMatches& best() const { return best_; }

 private:
  const models::AdapterSet& adapters_;
  HostExecutor& executor_;
  std::vector<int32_t> document_starts_;
  SymbolMatches best_;
};

}  // namespace rosa::training
