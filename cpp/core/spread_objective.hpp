#pragma once

#include <functional>
#include <utility>
#include <vector>

#include "covariance_derivatives.hpp"
#include "group_factors.hpp"

// The profiled criterion of block_objective.hpp where the groups are elsewhere, in parts: from the
// sums of partial_sums.hpp, asked for once an evaluation.
//
// With N0 = R_C^-1 of the sums and N of the evaluation, J = J0 K for K = R_C N, and with G = K K'
// (ML: of its last column alone), for k = (i, j) and l = (u, v):
//
//     sum vec(J) vec(J)' = (K' x I) moments (K x I)
//     sum W              = sum_ab moments_ab G_ab               (q x q blocks of the moments)
//     sum A~_k W_l       = sum_ab A_moments_k,ab(u, v) G_ab

namespace blocklmm {

class SpreadObjective {
 public:
  // PartialSums::sums of all parts, a column each, always in the same order. It may throw.
  using Gather = std::function<Matrix(const Matrix& lambda, const Matrix& N, bool derivatives)>;

  // units: of all rows. explained, rank_of_z: the parts' added.
  SpreadObjective(Standardization units, const Matrix& explained, Index rank_of_z,
                  std::vector<Entry> free_entries, Gather gather);

  Evaluation evaluate(const Matrix& lambda, const Criterion& criterion, bool derivatives) const;
  CovarianceDerivatives covariance_derivatives(const Matrix& lambda) const;

  const Standardization& units() const { return units_; }
  const Matrix& within() const { return within_; }
  Index rank_of_z() const { return rank_of_z_; }

 private:
  Vector gathered(const Matrix& lambda, bool derivatives) const;
  Evaluation value(const Vector& sums, const Criterion& criterion) const;

  Standardization units_;
  Matrix within_, R_C_, N0_;
  Index rank_of_z_;
  std::vector<Entry> free_;
  Gather gather_;
};

}  // namespace blocklmm
