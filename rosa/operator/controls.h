// The evaluation-only controls of the hard operator.
#pragma once

#include "rosa/operator/host_executor.h"
#include "rosa/operator/rosa_operator.h"

namespace rosa {

// Changes a request as options.control says: shuffled permutes the value symbols in time within each document, windowed
// masks what lies sliding_window or more positions back. zeroed and none change nothing here.
void apply_control(const OperatorOptions& options, MatchRequest& request);

}  // namespace rosa
