// The forms of the symbol flips on processors other than x86-64.
#include "rosa/kernels/symbol_flips_variants.h"

namespace rosa::kernels {

SymbolFlipsVariants symbol_flips_variants() {
  return {{{"portable", portable::list_match_changes, portable::sum_match_rewards}, {}, {}}, 1};
}

}  // namespace rosa::kernels
