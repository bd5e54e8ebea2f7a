#include "training/fault_injection.h"

#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/activity.h"
#include "base/error.h"

namespace rosa::training {
namespace {

using base::ConfigError;
using base::Phase;
using base::require;

struct Fault {
  std::string action;
  int64_t rank = 0;
  int64_t step = 0;
  bool every_step = false;  // from `step` on
  std::string phase = "data";
  double seconds = 0.0;  // of do=sleep
  bool done = false;
};

std::mutex mutex;
std::vector<Fault> faults;

// The name of a phase as it is written in ROSA_FAULT.
std::string word_of(Phase phase) {
  std::string name = base::name_of(phase);
  std::replace(name.begin(), name.end(), ' ', '_');
  return name;
}

void sleep_seconds(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

void loop_forever() {
  for (std::atomic<int64_t> count{0};;) ++count;
}

// What happens in a phase, by name.
const std::map<std::string, std::function<void(const Fault&)>>& actions() {
  static const std::map<std::string, std::function<void(const Fault&)>> all = {
      {"throw", [](const Fault&) { throw base::DataError("a fault on purpose (ROSA_FAULT)"); }},
      {"kill", [](const Fault&) { raise(SIGKILL); }},
      {"stop",
       [](const Fault&) {
         raise(SIGSTOP);
         std::fputs("a fault on purpose: what a library says when the other ranks have left\n", stderr);
       }},
      {"segv", [](const Fault&) { raise(SIGSEGV); }},
      {"exit", [](const Fault&) { _exit(0); }},
      {"sleep", [](const Fault& fault) { sleep_seconds(fault.seconds); }},
      {"usr1", [](const Fault&) { kill(getpid(), SIGUSR1); }},
      {"term", [](const Fault&) { kill(getpid(), SIGTERM); }},
      {"int", [](const Fault&) { kill(getpid(), SIGINT); }},
      {"loop", [](const Fault&) { loop_forever(); }},
  };
  return all;
}

bool is_action_of_value(const std::string& action) {
  constexpr std::array kActions = {"nan_loss", "nan_gradient", "spike", "corrupt_weight", "automaton_loop"};
  return std::find(kActions.begin(), kActions.end(), action) != kActions.end();
}

template <class Number>
Number number(const std::string& key, std::string_view text) {
  Number value{};
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  require<ConfigError>(code == std::errc() && end == text.data() + text.size(), "ROSA_FAULT: ", key,
                       ": expected a number, got '", text, "'");
  return value;
}

void check_phase(const std::string& phase) {
  for (auto known = Phase::starting; known <= Phase::left; known = static_cast<Phase>(static_cast<int>(known) + 1)) {
    if (word_of(known) == phase) return;
  }
  throw ConfigError("ROSA_FAULT: unknown phase '" + phase + "'");
}

Fault parse_fault(const std::string& text) {
  Fault fault;
  std::istringstream words(text);
  for (std::string word; words >> word;) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    std::string value = equals == std::string::npos ? "" : word.substr(equals + 1);
    if (key == "do") {
      fault.action = value;
    } else if (key == "rank") {
      fault.rank = number<int64_t>(key, value);
    } else if (key == "step") {
      fault.every_step = value.ends_with('-');
      if (fault.every_step) value.pop_back();
      fault.step = number<int64_t>(key, value);
    } else if (key == "phase") {
      check_phase(value);
      fault.phase = value;
    } else if (key == "seconds") {
      fault.seconds = number<double>(key, value);
    } else {
      throw ConfigError("ROSA_FAULT: expected do, rank, step, phase or seconds, got '" + word + "'");
    }
  }
  require<ConfigError>(actions().contains(fault.action) || is_action_of_value(fault.action),
                       "ROSA_FAULT: unknown fault 'do=", fault.action, "' (docs/testing.md lists them)");
  return fault;
}

bool is_due(const Fault& fault, int64_t step) {
  return fault.every_step ? step >= fault.step : step == fault.step && !fault.done;
}

void on_phase(Phase phase, int64_t step) {
  std::vector<Fault> due;
  {
    const std::lock_guard lock(mutex);
    for (Fault& fault : faults) {
      if (is_action_of_value(fault.action) || fault.phase != word_of(phase) || !is_due(fault, step)) continue;
      fault.done = true;
      due.push_back(fault);
    }
  }
  for (const Fault& fault : due) actions().at(fault.action)(fault);
}

}  // namespace

void install_faults_of_environment(int rank) {
  const char* text = std::getenv("ROSA_FAULT");
  if (text == nullptr) return;
  const std::lock_guard lock(mutex);
  faults.clear();
  std::istringstream parts(text);
  for (std::string part; std::getline(parts, part, ';');) {
    Fault fault = parse_fault(part);
    if (fault.rank == rank) faults.push_back(std::move(fault));
  }
  if (!faults.empty()) base::set_phase_hook(on_phase);
}

void install_automaton_fault(HostExecutor& executor) {
  const std::lock_guard lock(mutex);
  const bool wanted =
      std::any_of(faults.begin(), faults.end(), [](const Fault& fault) { return fault.action == "automaton_loop"; });
  if (!wanted) return;
  HostExecutor::Hooks hooks;
  hooks.work_begins = [] {
    if (fault_is_due("automaton_loop", base::current_activity().step)) loop_forever();
  };
  executor.set_hooks(std::move(hooks));
}

bool fault_is_due(std::string_view action, int64_t step) {
  const std::lock_guard lock(mutex);
  for (Fault& fault : faults) {
    if (fault.action != action || !is_due(fault, step)) continue;
    fault.done = true;
    return true;
  }
  return false;
}

void inject_weight_fault(const std::map<std::string, at::Tensor>& weights, int64_t step) {
  if (!fault_is_due("corrupt_weight", step)) return;
  at::NoGradGuard no_grad;
  weights.begin()->second.detach().view({-1})[0] += 1.0;
}

}  // namespace rosa::training
