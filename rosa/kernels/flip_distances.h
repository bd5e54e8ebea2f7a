// What the flip kernels share: distances of a row in vectors, and the order of matches. Includes no header with code of
// its own, as the kernels that are compiled once per instruction set.
#pragma once

#include <cstdint>

namespace rosa::kernels {

// Vector v of an array over distances holds those from v * kLanes + 1 on, the array distance d at index d - 1.
template <class Lanes, class Element>
struct FlipDistances {
  static constexpr int32_t kLanes = Lanes::kCount;

  static int32_t vector_of(int32_t distance) { return (distance - 1) / kLanes; }
  static typename Lanes::Vector distances(int32_t v) {
    return Lanes::add(Lanes::counting(), Lanes::broadcast(v * kLanes));
  }

  // A match as a number: the larger, the better; longer first, then nearer. 0: none.
  static uint32_t key(int32_t length, int32_t distance) {
    return static_cast<uint32_t>(length) << 16 | static_cast<uint32_t>(0xFFFF - distance);
  }
  static int32_t distance_of(uint32_t key) { return key >> 16 == 0 ? 0 : 0xFFFF - static_cast<int32_t>(key & 0xFFFF); }
  static void raise(uint32_t& to, uint32_t value) { to = value > to ? value : to; }

  // The first distance of vector v at which `values` holds `value`, 0 where none does.
  static int32_t find(int32_t v, const Element* values, int32_t value) {
    const uint64_t found = Lanes::bits(Lanes::equal(Lanes::load(values), Lanes::broadcast(value)));
    return found == 0 ? 0 : v * kLanes + 1 + __builtin_ctzll(found);
  }
  // The first distance of all; there must be one.
  static int32_t first_distance(const Element* values, int32_t value) {
    int32_t v = 0, distance = 0;
    while ((distance = find(v, values + v * kLanes, value)) == 0) ++v;
    return distance;
  }
};

}  // namespace rosa::kernels
