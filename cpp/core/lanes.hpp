#pragma once

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

#include "types.hpp"

// Doubles side by side that the compiler keeps in a vector register: code written with Lanes reads
// like scalar code, and each lane works on a row or a group of its own. Four of them: vectors wider
// than the machine's registers are split, and GCC moves their halves through memory.
//
// BLOCKLMM_CLONES compiles a function once per instruction set and picks at load time, where the
// compiler (GCC from 12 on) and the loader (glibc's) can. All it calls must be inlined into it
// (BLOCKLMM_INLINE), or it would run code for the oldest machine.

#define BLOCKLMM_INLINE inline __attribute__((always_inline))
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define BLOCKLMM_CLONES \
  __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define BLOCKLMM_CLONES
#endif

namespace blocklmm {

inline constexpr Index kLanes = 4;
using Lanes = double __attribute__((vector_size(32)));
using LaneBits = std::int64_t __attribute__((vector_size(32)));

BLOCKLMM_INLINE Lanes broadcast(double x) { return x - Lanes{}; }

BLOCKLMM_INLINE Lanes lane_sqrt(const Lanes& x) {
  Lanes root;
  for (Index l = 0; l < kLanes; ++l) root[l] = std::sqrt(x[l]);
  return root;
}

BLOCKLMM_INLINE double lane_sum(const Lanes& x) { return (x[0] + x[1]) + (x[2] + x[3]); }

// log x for positive normal x: x = 2^k m with m in [sqrt(1/2), sqrt(2)), and
// log m = 2 atanh(s), s = (m - 1) / (m + 1), whose series ends below one ulp after s^21.
BLOCKLMM_INLINE Lanes lane_log(const Lanes& x) {
  const LaneBits bits = (LaneBits)x;
  const std::int64_t sqrt_half = 0x3fe6a09e667f3bcd;
  const LaneBits k = (bits - sqrt_half) >> 52;
  const LaneBits mantissa = bits - (k << 52);
  const Lanes m = (Lanes)mantissa;
  // k + 2^52 + 2^51 as an integer has the bits of the double 2^52 + 2^51 + k
  const LaneBits magic = k + 0x4338000000000000;
  const Lanes exponent = (Lanes)magic - 6755399441055744.0;
  const Lanes s = (m - 1.0) / (m + 1.0), z = s * s;
  Lanes series = broadcast(1.0 / 21);
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
// The same for arrays that are written before they are read: resize() leaves new elements alone, so
// that whoever writes them, maybe in several threads, is the first to touch their pages.
template <class T>
struct RawLaneAllocator : LaneAllocator<T> {
  template <class U>
  struct rebind {
    using other = RawLaneAllocator<U>;
  };
  template <class U>
  void construct(U* p) {
    ::new (static_cast<void*>(p)) U;
  }
  template <class U>
  void construct(U* p, const U& value) {
    ::new (static_cast<void*>(p)) U(value);
  }
};
using LaneVector = std::vector<Lanes, LaneAllocator<Lanes>>;
using RawLaneVector = std::vector<Lanes, RawLaneAllocator<Lanes>>;
using AlignedVector = std::vector<double, LaneAllocator<double>>;

}  // namespace blocklmm
