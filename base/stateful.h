// Stateful: what everything implements whose state must survive a restart (weights, optimiser, data position,
// random streams, metrics). Checkpoints know nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

namespace rosa::base {

// A tensor as bytes: contiguous, row-major, little-endian. `dtype` is safetensors' name ("F32", "I64", "U8", ...).
struct StateTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::vector<std::byte> bytes;
};

using StateValue = std::variant<int64_t, double, std::string>;

struct StateDict {
  std::map<std::string, StateTensor> tensors;
  std::map<std::string, StateValue> values;
};

class Stateful {
 public:
  virtual ~Stateful() = default;

  // Returns a copy of the whole state; the tensors are unsharded in form.
  virtual StateDict save_state() const = 0;
  // Takes over a state that save_state() gave. Throws CheckpointError, naming the entry, where it does not fit.
  virtual void load_state(const StateDict& state) = 0;
};

}  // namespace rosa::base
