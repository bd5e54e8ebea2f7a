// Vectors of small unsigned integers, for the flip kernels: the form for any processor. lanes_avx2.h and lanes_avx512.h
// have the same members and other sizes.
#pragma once

#include <cstdint>

namespace rosa::kernels {

template <class Element>
struct PortableLanes {
  static constexpr int kCount = 16;
  struct Vector {
    Element lane[kCount];
  };
  using Mask = uint32_t;  // one bit a lane

  template <class Operation>
  static Vector map(const Operation& operation) {
    Vector result;
    for (int i = 0; i < kCount; ++i) result.lane[i] = static_cast<Element>(operation(i));
    return result;
  }
  template <class Condition>
  static Mask test(const Condition& condition) {
    Mask result = 0;
    for (int i = 0; i < kCount; ++i) result |= static_cast<Mask>(condition(i)) << i;
    return result;
  }

  static Vector load(const Element* from) {
    return map([&](int i) { return from[i]; });
  }
  static void store(Element* to, const Vector& v) {
    for (int i = 0; i < kCount; ++i) to[i] = v.lane[i];
  }
  static Vector broadcast(int value) {
    return map([&](int) { return value; });
  }
  // 1, 2, 3, ...
  static Vector counting() {
    return map([](int i) { return i + 1; });
  }
  static Vector add(const Vector& a, const Vector& b) {
    return map([&](int i) { return a.lane[i] + b.lane[i]; });
  }
  static Vector add_saturated(const Vector& a, const Vector& b) {
    constexpr int kMax = static_cast<Element>(-1);
    return map([&](int i) { return a.lane[i] + b.lane[i] > kMax ? kMax : a.lane[i] + b.lane[i]; });
  }
  static Vector subtract(const Vector& a, const Vector& b) {
    return map([&](int i) { return a.lane[i] - b.lane[i]; });
  }
  static Vector exclusive_or(const Vector& a, const Vector& b) {
    return map([&](int i) { return a.lane[i] ^ b.lane[i]; });
  }
  static Vector bit_and(const Vector& a, const Vector& b) {
    return map([&](int i) { return a.lane[i] & b.lane[i]; });
  }
  static Vector smaller(const Vector& a, const Vector& b) {
    return map([&](int i) { return a.lane[i] < b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Vector larger(const Vector& a, const Vector& b) {
    return map([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
  }
  static Mask equal(const Vector& a, const Vector& b) {
    return test([&](int i) { return a.lane[i] == b.lane[i]; });
  }
  static Mask at_least(const Vector& a, const Vector& b) {
    return test([&](int i) { return a.lane[i] >= b.lane[i]; });
  }
  static Mask both(Mask a, Mask b) { return a & b; }
  static Vector select(Mask mask, const Vector& if_set, const Vector& if_clear) {
    return map([&](int i) { return (mask >> i & 1) != 0 ? if_set.lane[i] : if_clear.lane[i]; });
  }
  static Vector keep(Mask mask, const Vector& v) {
    return map([&](int i) { return (mask >> i & 1) != 0 ? v.lane[i] : 0; });
  }
  static uint64_t bits(Mask mask) { return mask; }
  static int largest(const Vector& v) {
    int result = 0;
    for (int i = 0; i < kCount; ++i) result = v.lane[i] > result ? v.lane[i] : result;
    return result;
  }
};

}  // namespace rosa::kernels
