// What the kernels over flips of symbols ask of their arguments. Each throws ArgumentError.
#pragma once

#include "rosa/kernels/symbol_flips.h"

namespace rosa::kernels {

// Equally long sequences of at most kMaxFlipLength symbols of `num_bits` bits.
void check_symbol_flips(std::span<const uint16_t> query, std::span<const uint16_t> key, int64_t num_bits,
                        std::span<const int32_t> positions);
void check_rewards(const SymbolFlips::Rewards& rewards, size_t length);
// Room for [length, num_bits], which is set to 0.
void clear_effects(std::span<double> effects, size_t length, int64_t num_bits);

}  // namespace rosa::kernels
