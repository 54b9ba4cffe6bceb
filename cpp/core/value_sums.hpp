#pragma once

#include "patterns.hpp"

namespace blocklmm {

// What the value of the criterion takes of the groups, in the letters of block_objective.hpp.
struct ValueSums {
  double logdet = 0;  // sum log|K_i|
  Matrix S;           // sum G_i'G_i
};

// With `every` > 1: of a sample of the groups (GroupTasks).
ValueSums value_sums(const PackedGroups& groups, const Matrix& lambda, Index m, int n_threads,
                     Index every = 1);

}  // namespace blocklmm
