#pragma once

#include "patterns.hpp"

namespace blocklmm {

// What the value of the criterion takes of the groups, in the letters of block_objective.hpp.
struct ValueSums {
  double logdet = 0;  // sum log|K_i|
  Matrix S;           // sum G_i'G_i
  ValueSums& operator+=(const ValueSums& other) {
    logdet += other.logdet;
    S += other.S;
    return *this;
  }
};

// With `every` > 1: of a sample of the groups (GroupTasks). factors: where those of all groups are
// to be kept (group_batches.hpp), batch by batch.
ValueSums value_sums(const PackedGroups& groups, const Matrix& lambda, Index m, int n_threads,
                     Index every = 1, RawLaneVector* factors = nullptr);

}  // namespace blocklmm
