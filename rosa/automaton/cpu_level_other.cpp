// The choice of code on machines other than x86-64: plain C++ only.
#include "base/error.h"
#include "rosa/automaton/byte_matching.h"

namespace rosa::automaton {

CpuLevel best_cpu_level() { return CpuLevel::portable; }

const MatcherCode& matcher_code(CpuLevel level) {
  base::require(level == CpuLevel::portable, "Matcher: this build has only portable code; got CpuLevel ",
                static_cast<int>(level));
  return kPortableCode;
}

}  // namespace rosa::automaton
