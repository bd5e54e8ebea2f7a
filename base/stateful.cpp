#include "base/stateful.h"

#include <cxxabi.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <typeinfo>

namespace rosa::base {
namespace {

struct Birth {
  int64_t number = 0;  // of all states of the process, in order
  std::thread::id thread;
};

// All states that live. States of several threads come and go at once (ranks as threads, in tests).
struct Register {
  std::mutex mutex;
  std::map<const Stateful*, Birth> living;
  int64_t num_births = 0;
};

Register& all_states() {
  // Never destroyed: states of static storage may end after it.
  static Register* const states = new Register;
  return *states;
}

void add(const Stateful* state) {
  Register& states = all_states();
  const std::lock_guard lock(states.mutex);
  states.living[state] = {states.num_births++, std::this_thread::get_id()};
}

std::string type_name(const Stateful& state) {
  const char* mangled = typeid(state).name();
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> name(abi::__cxa_demangle(mangled, nullptr, nullptr, &status), std::free);
  return status == 0 ? name.get() : mangled;
}

}  // namespace

Stateful::Stateful() { add(this); }

Stateful::Stateful(const Stateful&) { add(this); }

Stateful::~Stateful() {
  Register& states = all_states();
  const std::lock_guard lock(states.mutex);
  states.living.erase(this);
}

StatefulWatch::StatefulWatch() {
  Register& states = all_states();
  const std::lock_guard lock(states.mutex);
  first_ = states.num_births;
}

std::vector<std::string> StatefulWatch::unregistered(const std::vector<const Stateful*>& registered) const {
  Register& states = all_states();
  const std::lock_guard lock(states.mutex);
  std::vector<std::string> names;
  for (const auto& [state, birth] : states.living) {
    const bool is_mine = birth.number >= first_ && birth.thread == std::this_thread::get_id();
    const bool is_known = std::find(registered.begin(), registered.end(), state) != registered.end();
    if (is_mine && !is_known) names.push_back(type_name(*state));
  }
  return names;
}

}  // namespace rosa::base
