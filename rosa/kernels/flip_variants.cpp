#include "rosa/kernels/flip_variants.h"

namespace rosa::kernels {

const FlipVariant& chosen_flip_variant() {
  static const FlipVariant variant = flip_variants().variants[0];
  return variant;
}

}  // namespace rosa::kernels
