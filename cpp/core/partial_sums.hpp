#pragma once

#include "patterns.hpp"

// The groups of one factor in parts, on several machines: every group is whole in one part.
//
// All that the criterion and its derivatives take of the groups are sums over them that know
// neither beta nor sigma. With the letters of block_objective.hpp, and N fixed beforehand,
//
//     sum log|K_i|,   sum G_i'G_i,   and the CovarianceSums (covariance_sums.hpp) of J_i = F_i'G_i N
//
// for one lambda: one request, and one small vector back from each part. Those of the N that
// follows from S = within + sum G_i'G_i are contractions of them (spread_objective.hpp). N is
// R_C^-1, C = M'M = R_C'R_C, of all rows, so that what they are contracted with is of ordinary size.
//
// Of all rows a part needs the columns and their units (Standardization) alone.

namespace blocklmm {

class PartialSums {
 public:
  PartialSums(const Statistics& part, Standardization units);

  // Numbers to be added over the parts: log|K_i|, the lower triangle of G_i'G_i by rows and, for
  // derivatives, the values of CovarianceSums.
  Vector sums(const Matrix& lambda, const Matrix& N, bool derivatives, int n_threads) const;
  // sum Y_i'Y_i, and the sum of the ranks of A_i.
  const Matrix& explained() const { return groups_.explained; }
  Index rank_of_z() const { return groups_.rank_of_z; }
  // Those of all rows, with the number of the part's.
  const Standardization& units() const { return units_; }

 private:
  Standardization units_;
  PackedGroups groups_;
};

}  // namespace blocklmm
