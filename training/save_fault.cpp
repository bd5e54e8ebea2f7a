#include "training/save_fault.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <thread>
#include <vector>

#include "base/error.h"

namespace rosa::training {
namespace {

struct Fault {
  std::string action, point;
  int number = 0;  // milliseconds, or the signal
  int rank = -1;
  int save = -1;
};

[[noreturn]] void refuse(const std::string& text) {
  throw base::ConfigError(base::concat(kSaveFaultVariable, ": can't understand '", text,
                                       "', expected 'kill|fail|sleep N|signal N at POINT [rank R] [save K]'"));
}

Fault parse_fault(const std::string& text) {
  Fault fault;
  std::istringstream words(text);
  std::string at;
  if (!(words >> fault.action)) refuse(text);
  const bool has_number = fault.action == "sleep" || fault.action == "signal";
  if (!has_number && fault.action != "kill" && fault.action != "fail") refuse(text);
  if (has_number && !(words >> fault.number)) refuse(text);
  if (!(words >> at >> fault.point) || at != "at") refuse(text);
  for (std::string key; words >> key;) {
    if (key != "rank" && key != "save") refuse(text);
    if (!(words >> (key == "rank" ? fault.rank : fault.save))) refuse(text);
  }
  return fault;
}

bool is_at(const Fault& fault, std::string_view point) {
  return point == fault.point || point.substr(0, point.find(':')) == fault.point;
}

void act(const Fault& fault, std::string_view point) {
  if (fault.action == "kill") std::raise(SIGKILL);
  if (fault.action == "signal") std::raise(fault.number);
  if (fault.action == "sleep") std::this_thread::sleep_for(std::chrono::milliseconds(fault.number));
  base::require<base::FileError>(fault.action != "fail", "a fault on demand (", kSaveFaultVariable, ") at ", point);
}

}  // namespace

SaveObserver save_faults(const std::string& specification, int rank) {
  std::vector<Fault> faults;
  std::istringstream parts(specification);
  for (std::string part; std::getline(parts, part, ';');) {
    const Fault fault = parse_fault(part);
    if (fault.rank < 0 || fault.rank == rank) faults.push_back(fault);
  }
  if (faults.empty()) return {};
  // Saves of a process never overlap, and each begins with its snapshot.
  const auto num_saves = std::make_shared<std::atomic<int>>(0);
  return [faults, num_saves](std::string_view point) {
    if (point == "snapshot") ++*num_saves;
    for (const Fault& fault : faults) {
      if (is_at(fault, point) && (fault.save < 0 || fault.save == *num_saves)) act(fault, point);
    }
  };
}

SaveObserver save_faults_of_environment(int rank) {
  const char* specification = std::getenv(kSaveFaultVariable);
  return save_faults(specification == nullptr ? "" : specification, rank);
}

}  // namespace rosa::training
