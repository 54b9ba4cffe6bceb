#pragma once

#include "group_factors.hpp"
#include "lanes.hpp"

// GroupFactors::compute for a batch of groups at a time, where groups are kept one by one.

namespace blocklmm {

// What all groups of a stretch add to a sum: Y_i'Y_i without what a second pass took from y, and
// the rank of A_i.
struct Packed {
  Matrix explained;
  Index rank = 0;
};

// Writes batches begin … end - 1 of the statistics' only factor to `out`, each as R's upper
// triangle by columns, Y by columns and multiplicity 1; lanes without a group hold zeros.
Packed pack_batches(const Statistics& statistics, const Standardization& units, Index begin,
                    Index end, Lanes* out);

}  // namespace blocklmm
