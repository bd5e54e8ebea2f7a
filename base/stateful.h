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
  virtual ~Stateful();

  // Returns a copy of the whole state; the tensors are unsharded in form. Where the state is sharded over ranks this is
  // collective: a save calls it for every state in the order of their names, on every rank, between two steps.
  virtual StateDict save_state() const = 0;
  // Takes over a state that save_state() gave. Throws CheckpointError, naming the entry, where it does not fit.
  virtual void load_state(const StateDict& state) = 0;

 protected:
  Stateful();
  Stateful(const Stateful& other);
  Stateful& operator=(const Stateful& other) = default;
};

// Knows which states a thread has made since it began to watch, so that a run can tell when one of its own is missing
// from what it saves. A state that is part of another's is no Stateful of its own.
class StatefulWatch {
 public:
  // Watches the calling thread from now on.
  StatefulWatch();

  // The type names of the states that were made since, still live, and are not among `registered`.
  std::vector<std::string> unregistered(const std::vector<const Stateful*>& registered) const;

 private:
  int64_t first_;
};

}  // namespace rosa::base
