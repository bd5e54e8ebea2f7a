// CollectiveCall: what a rank asks for when it calls a collective, as debug mode compares it across ranks and as errors
// name it. Knows nothing of tensors' contents and moves no data.
#pragma once

#include <ATen/ATen.h>

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "parallel/work.h"

namespace rosa::parallel {

enum class Reduction { sum, max, min };

// The name of a reduction, for messages.
const char* name_of(Reduction reduction);

// What is not set has no meaning for the operation.
struct CollectiveCall {
  const char* operation = "";  // of static storage
  std::optional<at::ScalarType> dtype = {};
  std::optional<int64_t> count = {};  // elements of this rank's tensor, where they must be the same on every rank
  std::optional<int> root = {};
  std::optional<Reduction> reduction = {};
  // Elements for and from each rank, where they may differ from pair to pair. Both empty elsewhere.
  std::vector<int64_t> send_counts = {};
  std::vector<int64_t> receive_counts = {};
};

// "all_reduce of Float, 4 elements, sum", for messages.
std::string describe(const CollectiveCall& call);

// The call as int64 numbers, of the same length for every call in a group of `world_size` ranks. The first is the
// sequence number, which is at least 1.
std::vector<int64_t> encode(const CollectiveCall& call, int64_t sequence_number, int world_size);

// Compares the encoded calls of all ranks, in rank order. Empty where they belong together, else what differs: the
// ranks in the minority (or, in a tie, those that differ from rank 0) and their calls, or the pair whose counts differ.
// `group` tells the ranks' numbers in the job.
std::string find_difference(const std::vector<std::vector<int64_t>>& calls, const RankGroup& group = {});

}  // namespace rosa::parallel
