// How strings of bits are drawn from uniform numbers.
#pragma once

#include <cstdint>
#include <span>

namespace rosa {

// bits[t] is 1 with probability p[t]: [u < p], or, mirrored, [u > 1 - p], the antithetic partner.
inline void draw_bits(std::span<const double> probability, std::span<const double> uniforms, bool mirrored,
                      std::span<uint8_t> bits) {
  if (mirrored) {
    for (size_t t = 0; t < bits.size(); ++t) bits[t] = uniforms[t] > 1 - probability[t];
  } else {
    for (size_t t = 0; t < bits.size(); ++t) bits[t] = uniforms[t] < probability[t];
  }
}

}  // namespace rosa
