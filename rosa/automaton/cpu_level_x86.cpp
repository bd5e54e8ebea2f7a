// The choice of code on x86-64. CMake takes cpu_level_other.cpp on other machines.
#include "base/error.h"
#include "rosa/automaton/byte_matching.h"

namespace rosa::automaton {
namespace {

bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("fma");
}

bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

}  // namespace

CpuLevel best_cpu_level() {
  if (has_avx512()) return CpuLevel::avx512;
  return has_avx2() ? CpuLevel::avx2 : CpuLevel::portable;
}

const MatcherCode& matcher_code(CpuLevel level) {
  base::require(level <= best_cpu_level(), "Matcher: this CPU lacks the instructions of CpuLevel ",
                static_cast<int>(level), "; it has those of ", static_cast<int>(best_cpu_level()));
  switch (level) {
    case CpuLevel::avx512:
      return kAvx512Code;
    case CpuLevel::avx2:
      return kAvx2Code;
    case CpuLevel::portable:
      break;
  }
  return kPortableCode;
}

}  // namespace rosa::automaton
