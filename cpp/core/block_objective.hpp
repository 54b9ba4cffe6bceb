#pragma once

#include <utility>
#include <vector>

#include "covariance_derivatives.hpp"
#include "patterns.hpp"

// The profiled criterion of a model whose random terms share one grouping factor, in the units of
// Standardization, with the exact gradient and Hessian (MATH: Bates et al. 2015, sec. 3; Lindstrom
// & Bates 1988). With T = lambda lambda', nu = n - p (REML) or n (ML):
//
//     K_i = I + R_i T R_i' = L_i L_i',   G_i = L_i^-1 Y_i,   F_i = L_i^-1 R_i
//     S = within + sum G_i'G_i = R_S'R_S,   r = last diagonal entry of R_S
//     f = sum log|K_i| + [log|S_XX|] + nu (1 + log(2 pi r^2 / nu))
//
// The first pass over the groups gives S and f. For the derivatives, with N N' = G_S (criterion.hpp;
// its last column is sqrt(nu)/r e, e = (-beta; 1)),
//
//     A~_i = F_i'F_i,   J_i = F_i'G_i N,   W_i = J_i J_i' (ML: the last column of J_i alone)
//     Gamma = sum (A~_i - W_i),      df/dlambda = 2 Gamma lambda
//     S^_k  = N'S_k N = -sum J_i'T_k J_i,  from the second moments of vec(J_i)
//     f_kl  = tr(Gamma T_kl) + sum [2 tr(T_k A~_i T_l W_i) - tr(A~_i T_k A~_i T_l)]
//             - sum_ab S^_k,ab S^_l,ab (REML: a, b in X) - 2 sum_a S^_k,ae S^_l,ae
//             - S^_k,ee S^_l,ee / nu   (the last part only where sigma is profiled out)
//
// lambda may be any q x q matrix: only T matters, and the optimiser picks the factor it likes.
// Both passes are sums over batches of groups (lanes.hpp), in tasks of a fixed size.

namespace blocklmm {

class BlockObjective {
 public:
  BlockObjective(const Statistics& statistics, std::vector<Index> x_columns,
                 std::vector<Entry> free_entries);

  // The statistics have got another response.
  void take_response(const Statistics& statistics);

  Evaluation evaluate(const Matrix& lambda, const Criterion& criterion, bool derivatives,
                      int n_threads) const;
  CovarianceDerivatives covariance_derivatives(const Matrix& lambda, int n_threads) const;

  const Standardization& units() const { return units_; }
  // What is left of C = M'M within the groups, with lambda infinitely large.
  const Matrix& within() const { return groups_.within; }
  Index rank_of_z() const { return groups_.rank_of_z; }
  Index n_patterns() const { return groups_.n_patterns; }

 private:
  Standardization units_;
  PackedGroups groups_;
  std::vector<Entry> free_;
};

}  // namespace blocklmm
