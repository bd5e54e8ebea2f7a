// Keeping the ranks alike: equal start values of named parameters, equal configuration, version and CPU capability.
#pragma once

#include <map>
#include <string>

#include "parallel/communicator.h"

namespace rosa::parallel {

// Throws ConfigError on every rank, naming the ranks whose `text` differs from rank 0's and the first line that
// differs, unless all ranks pass the same text. `what` names it: "configuration". Collective: every rank calls it.
void compare_across_ranks(Communicator& communicator, const std::string& what, const std::string& text);

// Overwrites the tensors with those of rank `root`, after comparing names, shapes and dtypes across ranks (ConfigError
// on every rank where they differ). Tensors must be contiguous. Collective: every rank calls it.
void broadcast_parameters(Communicator& communicator, const std::map<std::string, at::Tensor>& parameters,
                          int root = 0);

// Compares the bytes of the tensors across ranks by their hashes (XXH3) and throws NumericError on every rank where
// they differ, naming the ranks in the minority (in a tie: those that differ from rank 0) and their first differing
// tensors. `when` says when it was: "after step 40". Names and their order are the same on every rank. Collective:
// every rank calls it.
void compare_replicas(Communicator& communicator, const std::map<std::string, at::Tensor>& tensors,
                      const std::string& when);

}  // namespace rosa::parallel
