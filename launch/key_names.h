// Which key somebody meant who wrote one that does not exist.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace rosa::launch {

// What other programs call a key ("batch_size"), to the full keys that it may be here; the first one that exists
// counts.
using UsualNames = std::map<std::string, std::vector<std::string>>;

// The names that runs and experiments are asked for most.
const UsualNames& usual_names();

// All keys and sections of a description with their help.
using KnownKeys = std::map<std::string, std::string>;

// "; did you mean train.num_steps?" or an empty text, for `name` where keys begin with `prefix` ("train." or "").
// First what others call it, then the nearest name of its own section, then that very name in another section, then the
// nearest of all.
std::string key_suggestion(const std::string& prefix, const std::string& name, const KnownKeys& known);

}  // namespace rosa::launch
