#pragma once

#include <cstdint>

#include "types.hpp"

namespace blocklmm {

// Slots of a factor's levels are cut into stripes of kStripeSlots consecutive ones, dealt out to
// kStripes hands in turn. A thread works for some of the hands: where rows come in the order of
// their levels most blocks are one thread's alone, and what a hand holds does not depend on the
// number of threads.
inline constexpr Index kStripes = 32;

inline Index stripe_of(std::int64_t slot) { return (slot >> 10) % kStripes; }

struct Owner {
  Index worker, n_workers;
  bool owns(std::int64_t slot) const {
    return n_workers == 1 || (slot >= 0 && stripe_of(slot) % n_workers == worker);
  }
};

}  // namespace blocklmm
