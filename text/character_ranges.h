// Tables of ranges of characters, searched by character.
#pragma once

#include <algorithm>
#include <cstdint>

namespace rosa::text {

// The range of `ranges` that holds `character`; null: none does. Ranges have members `first` and `last`, both within,
// are in order and do not overlap.
template <class Ranges>
auto range_of(const Ranges& ranges, uint32_t character) -> decltype(ranges.data()) {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), character,
                                      [](uint32_t value, const auto& range) { return value < range.first; });
  if (after == ranges.begin() || character > (after - 1)->last) return nullptr;
  return &*(after - 1);
}

}  // namespace rosa::text
