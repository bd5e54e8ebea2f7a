// The forms of the flip kernels on processors other than x86-64.
#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {

FlipVariants flip_variants() {
  return {{{"portable", portable::list_changes, portable::sum_rewards, portable::list_match_changes,
            portable::sum_match_rewards},
           {},
           {}},
          1};
}

}  // namespace rosa::kernels
