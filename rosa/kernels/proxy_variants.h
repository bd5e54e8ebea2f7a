// The forms of the fused proxies by instruction set, as function tables; proxy_variants.cpp picks one at run time.
#pragma once

#include "rosa/kernels/dense_surrogate.h"
#include "rosa/kernels/soft_rosa.h"
#include "rosa/kernels/sufa.h"

namespace rosa::kernels {

template <class Problem>
using ForwardFunction = void(const Problem&, ConstRows query, ConstRows key, ConstRows value, Rows output, std::byte*);
template <class Problem>
using BackwardFunction = void(const Problem&, ConstRows query, ConstRows key, ConstRows value, ConstRows grad_output,
                              Rows grad_query, Rows grad_key, Rows grad_value, std::byte*);

#define ROSA_DECLARE_PROXIES(name)                                  \
  namespace name {                                                  \
  ForwardFunction<SufaProblem> sufa_forward;                        \
  BackwardFunction<SufaProblem> sufa_backward;                      \
  ForwardFunction<SoftRosaProblem> soft_rosa_forward;               \
  BackwardFunction<SoftRosaProblem> soft_rosa_backward;             \
  BackwardFunction<DenseSurrogateProblem> dense_surrogate_backward; \
  }
ROSA_DECLARE_PROXIES(avx512)
ROSA_DECLARE_PROXIES(avx2)
ROSA_DECLARE_PROXIES(portable)
#undef ROSA_DECLARE_PROXIES

struct ProxyVariant {
  const char* name;
  ForwardFunction<SufaProblem>* sufa_forward;
  BackwardFunction<SufaProblem>* sufa_backward;
  ForwardFunction<SoftRosaProblem>* soft_rosa_forward;
  BackwardFunction<SoftRosaProblem>* soft_rosa_backward;
  BackwardFunction<DenseSurrogateProblem>* dense_surrogate_backward;
};

#define ROSA_PROXY_VARIANT(name)                                                                       \
  {                                                                                                    \
#name, name::sufa_forward, name::sufa_backward, name::soft_rosa_forward, name::soft_rosa_backward, \
        name::dense_surrogate_backward                                                                 \
  }

// All forms that this processor can run, fastest first; "portable" is always the last.
struct ProxyVariants {
  ProxyVariant variants[3];
  int count;
};
ProxyVariants proxy_variants();

// The first of them.
const ProxyVariant& chosen_proxy_variant();

}  // namespace rosa::kernels
