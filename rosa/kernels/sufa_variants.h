// The forms of the fused SUFA by instruction set, as function tables; sufa.cpp picks one at run time.
#pragma once

#include "rosa/kernels/sufa.h"

namespace rosa::kernels {

#define ROSA_DECLARE_SUFA(name)                                                                                 \
  namespace name {                                                                                              \
  void sufa_forward(const SufaProblem&, ConstRows, ConstRows, ConstRows, Rows, float*);                         \
  void sufa_backward(const SufaProblem&, ConstRows, ConstRows, ConstRows, ConstRows, Rows, Rows, Rows, float*); \
  }
ROSA_DECLARE_SUFA(avx512)
ROSA_DECLARE_SUFA(avx2)
ROSA_DECLARE_SUFA(portable)
#undef ROSA_DECLARE_SUFA

struct SufaVariant {
  const char* name;
  decltype(&portable::sufa_forward) forward;
  decltype(&portable::sufa_backward) backward;
};

// All forms that this processor can run, fastest first; "portable" is always the last.
struct SufaVariants {
  SufaVariant variants[3];
  int count;
};
SufaVariants sufa_variants();

}  // namespace rosa::kernels
