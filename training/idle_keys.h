// Keys of a configuration that were given and that nothing will read, since another key decides so: probably not what
// was meant, and no error.
#pragma once

#include <string>
#include <vector>

#include "training/stages.h"

namespace rosa::training {

struct IdleKey {
  std::string key;     // "loss.alignment_of"
  std::string reason;  // "loss.alignment is 0"
};

// Of a distilled run: keys that were given (Stage::origin) another value than the recipe's, and that no stage reads.
std::vector<IdleKey> idle_keys(const Stages& stages);

// "loss.alignment_of has no effect: loss.alignment is 0"
std::string idle_key_text(const IdleKey& idle);

}  // namespace rosa::training
