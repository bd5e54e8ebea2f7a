// TextState: everything a generation keeps of one text. Copies are independent of each other.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "models/key_value_cache.h"
#include "rosa/operator/rosa_state.h"

namespace rosa::models {

struct TextState {
  int64_t size = 0;                   // tokens so far
  std::vector<KeyValueCache> caches;  // of each layer
  // Of each layer, and of the adapter before the final norm; none: there is no adapter.
  std::vector<std::optional<RosaState>> rosa_states;
};

}  // namespace rosa::models
