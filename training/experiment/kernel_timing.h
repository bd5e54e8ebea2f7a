// The task timing: CPU time of forwards, of all flips and of whole estimators against the length of the sequence, on
// families that are easy and hard for them. Trains nothing.
#pragma once

#include <filesystem>
#include <functional>

#include "parallel/communicator.h"
#include "training/experiment/experiment_config.h"

namespace rosa::training {

// Adds what is missing to studies.jsonl in `folder`, one line a figure, measured on one thread of rank 0; false where a
// rank wants to stop. Collective: every rank calls it.
bool time_kernels(const TimingSection& config, const std::filesystem::path& folder,
                  parallel::Communicator& communicator, const std::function<bool()>& stop_requested);

}  // namespace rosa::training
