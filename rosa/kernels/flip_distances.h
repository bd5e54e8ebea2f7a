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

  // Raises best[a], a = 1 to row - 1 rows since a flip: to the runs at distances above a, cut to a rows.
  static void raise_later(uint32_t* best, const Element* run, int32_t row) {
    uint32_t suffix = 0;
    for (int32_t a = row - 1; a >= 0; --a) {
      raise(suffix, key(run[a], a + 1));
      if (static_cast<int32_t>(suffix >> 16) <= a) raise(best[a], suffix);
    }
    int32_t d = 1;
    for (int32_t a = 1; a < row; ++a) {
      if (d <= a) d = a + 1;
      while (d <= row && run[d - 1] < a) ++d;
      if (d > row) break;
      raise(best[a], key(a, d));
    }
  }
  // Raises best[a], d <= a < end, to distance d cut to a - d rows. `covered`: from fewer rows ago on, a nearer distance
  // is cut already, which is better.
  static void raise_cut(uint32_t* best, int32_t d, int32_t end, int32_t& covered) {
    for (int32_t a = d > covered ? d : covered; a < end; ++a) raise(best[a], key(a - d, d));
    covered = end > covered ? end : covered;
  }

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
