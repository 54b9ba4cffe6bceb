#pragma once

#include <cstdint>

#include "random.hpp"
#include "sparse_factor.hpp"

// Responses y = Z b + e drawn as what the statistics know of them, (Z'y, X'y, y'y): no row is made.
// With b ~ N(0, sigma^2 T) and e ~ N(0, sigma^2 I) (rows times the root of their weights),
//
//     Z'y = Z'Z b + Z'e,   X'y = X'Z b + X'e,   y'y = b'Z'Z b + 2 b'Z'e + e'e
//
// and [Z X]'e ~ N(0, sigma^2 [Z X]'[Z X]) comes from the elimination of the effects, with T
// infinitely large: for a level with A = (W W')^- left of its Z'Z, and z standard normal,
//
//     Z'e += A W z,   Z_r'e += B'W z,   X'e += D_X'W z,   e'e += z'z
//
// after which X'e gets R_w'z of R_w'R_w = X'X - sum D_X'W W'D_X, what Z leaves of X'X, and e'e the
// squares of this z and a chi-square on n - rank[Z X] degrees of freedom. Directions of no variance
// (a level with fewer rows than effects, factors that share a constant) get no z.

namespace blocklmm {

class ResponseDraws {
 public:
  // x_columns: columns of the statistics whose products with y are wanted.
  ResponseDraws(const Statistics& statistics, const Elimination& plan, std::vector<Index> x_columns,
                const Blas& blas);

  // lambdas: by factor, in the units of the statistics.
  Response draw(const std::vector<Matrix>& lambdas, double sigma, Random& random) const;

  Index rank_of_z() const { return rank_of_z_; }
  Index df_residual() const { return df_; }

 private:
  void factor_end();
  void add_errors(Random& random, Effects& Ze, Vector& Xe, double& ee) const;

  const Statistics& statistics_;
  const Elimination& plan_;
  std::vector<Index> x_columns_;
  Blas blas_;
  SparseFactor factor_;
  Effects D_X_;      // what is left of Z'X when its level goes
  Matrix end_root_;  // L (n_dense x rank) of the dense end, rows in its order
  Matrix end_X_;     // L^- D_X there, rank x p
  Matrix within_;    // R_w, rank x p
  Index rank_of_z_ = 0, df_ = 0;
};

}  // namespace blocklmm
