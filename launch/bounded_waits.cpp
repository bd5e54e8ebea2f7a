#include "launch/bounded_waits.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>

namespace rosa::launch {
namespace {

// Some microseconds: as fast as long spinning on a quiet host, a quarter of its time beside other work.
constexpr const char* kSpins = "1000";

bool computes(std::string_view subcommand) {
  constexpr std::array kNames = {"train", "pretrain", "demo",     "experiment", "generate",
                                 "eval",  "select",   "headroom", "verify-run"};
  return std::find(kNames.begin(), kNames.end(), subcommand) != kNames.end();
}

}  // namespace

void bound_waits_of_threads(std::string_view subcommand, char** argv) {
  if (!computes(subcommand)) return;
  if (std::getenv("GOMP_SPINCOUNT") != nullptr || std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  if (setenv("GOMP_SPINCOUNT", kSpins, 1) != 0) return;
  execv("/proc/self/exe", argv);
}

}  // namespace rosa::launch
