#pragma once

#include "covariance_derivatives.hpp"
#include "patterns.hpp"

// Sums over groups of which derivatives are made that need no other pass, in the letters of
// block_objective.hpp: for J_i = F_i'G_i N and any upper triangular N (m x m), h = q(q+1)/2,
//
//     A         sum A~_i                              h, lower triangle by rows
//     A_pairs   sum A~_i x A~_i                       packed pairs of packed entries
//     moments   sum vec(J_i) vec(J_i)'                lower triangle by rows, J(i, a) at a q + i
//     A_moments the same times each entry of A~_i     h numbers for each of its entries
//
// They are quadratic in J, so that those of N K follow from those of N: vec(J K) = (K' x I) vec(J).

namespace blocklmm {

struct CovarianceSums {
  Index q, m;
  Vector values;  // one after the other

  CovarianceSums(Index q, Index m, Vector values);
  static Index size(Index q, Index m);
  double A(Index i, Index j) const;
  double A_pairs(Index i, Index j, Index k, Index l) const;  // sum A~(i, j) A~(k, l)
  Matrix moments() const;                                    // qm x qm
  Matrix A_moments(Index i, Index j) const;                  // sum A~(i, j) vec(J) vec(J)'
};

CovarianceSums covariance_sums(const PackedGroups& groups, const Matrix& lambda, const Matrix& N,
                               int n_threads);

// (K' x I) M (K x I): the second moments of vec(J K) from those of vec(J), J with q rows.
Matrix moments_in_basis(const Matrix& moments, const Matrix& K, Index q);

// From the sums for an N with N K = R_S^-1, in all directions within the free entries' blocks.
CovarianceDerivatives covariance_derivatives(const CovarianceSums& sums, const Matrix& K,
                                             const std::vector<Entry>& free_entries);

}  // namespace blocklmm
