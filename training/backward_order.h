// The order in which a backward completes the gradients of parameters, as far as their names tell.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace rosa::training {

// A permutation of `names`: the output head, then what stands after the layers, the layers from last to first, and
// what stands before them. Numbers in names count as numbers (layer 10 is after layer 9).
std::vector<size_t> backward_order(const std::vector<std::string>& names);

}  // namespace rosa::training
