#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "types.hpp"

// Eight doubles that the compiler keeps in whatever vector registers there are: code written with
// Lanes reads like scalar code, and each lane works on a row or a group of its own.
//
// BLOCKLMM_CLONES compiles a function once per instruction set and picks at load time. All it
// calls must be inlined into it (BLOCKLMM_INLINE), or it would run code for the oldest machine.

#define BLOCKLMM_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define BLOCKLMM_CLONES \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define BLOCKLMM_CLONES
#endif

namespace blocklmm {

inline constexpr Index kLanes = 8;
using Lanes = double __attribute__((vector_size(64)));

// Half of them: a register of most machines. Where these are narrower than Lanes, GCC moves values
// that don't stay in registers through memory in pieces; long kernels work on halves.
using HalfLanes = double __attribute__((vector_size(32)));
using HalfBits = std::int64_t __attribute__((vector_size(32)));

BLOCKLMM_INLINE HalfLanes broadcast(double x) { return x - HalfLanes{}; }

BLOCKLMM_INLINE HalfLanes lane_sqrt(const HalfLanes& x) {
  HalfLanes root;
  for (Index l = 0; l < kLanes / 2; ++l) root[l] = std::sqrt(x[l]);
  return root;
}

BLOCKLMM_INLINE double lane_sum(const Lanes& x) {
  return ((x[0] + x[1]) + (x[2] + x[3])) + ((x[4] + x[5]) + (x[6] + x[7]));
}

// log x for positive normal x: x = 2^k m with m in [sqrt(1/2), sqrt(2)), and
// log m = 2 atanh(s), s = (m - 1) / (m + 1), whose series ends below one ulp after s^21.
BLOCKLMM_INLINE HalfLanes lane_log(const HalfLanes& x) {
  const HalfBits bits = (HalfBits)x;
  const std::int64_t sqrt_half = 0x3fe6a09e667f3bcd;
  const HalfBits k = (bits - sqrt_half) >> 52;
  const HalfBits mantissa = bits - (k << 52);
  const HalfLanes m = (HalfLanes)mantissa;
  // k + 2^52 + 2^51 as an integer has the bits of the double 2^52 + 2^51 + k
  const HalfBits magic = k + 0x4338000000000000;
  const HalfLanes exponent = (HalfLanes)magic - 6755399441055744.0;
  const HalfLanes s = (m - 1.0) / (m + 1.0), z = s * s;
  HalfLanes series = broadcast(1.0 / 21);
  for (const double c :
       {1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13, 1.0 / 11, 1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3})
    series = series * z + c;
  return exponent * 0.693147180559945309417 + (s + s) + (s + s) * (z * series);
}

// Storage on cache-line boundaries, as loads of whole Lanes want it. Aligned by hand: malloc keeps
// small blocks at hand for the next one who asks, but none that were asked for with an alignment.
template <class T>
struct LaneAllocator {
  using value_type = T;
  LaneAllocator() = default;
  template <class U>
  LaneAllocator(const LaneAllocator<U>&) {}
  T* allocate(std::size_t n) {
    constexpr std::size_t kLine = 64;
    void* block = ::operator new(n * sizeof(T) + kLine + sizeof(void*));
    const auto start = reinterpret_cast<std::uintptr_t>(block) + sizeof(void*);
    void** aligned = reinterpret_cast<void**>((start + kLine - 1) / kLine * kLine);
    aligned[-1] = block;
    return reinterpret_cast<T*>(aligned);
  }
  void deallocate(T* p, std::size_t) { ::operator delete(reinterpret_cast<void**>(p)[-1]); }
  template <class U>
  bool operator==(const LaneAllocator<U>&) const {
    return true;
  }
  template <class U>
  bool operator!=(const LaneAllocator<U>&) const {
    return false;
  }
};
using LaneVector = std::vector<Lanes, LaneAllocator<Lanes>>;
using HalfVector = std::vector<HalfLanes, LaneAllocator<HalfLanes>>;
using AlignedVector = std::vector<double, LaneAllocator<double>>;

}  // namespace blocklmm
