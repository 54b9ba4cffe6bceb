#pragma once

#include <Eigen/Cholesky>
#include <vector>

#include "moment_equations.hpp"

namespace blocklmm {

// Where an optimiser may begin: a factor F of T = FF' by moments, in parts of the residual variance;
// block diagonal, its blocks symmetric. Variances that come out negative are left out, with their
// covariances, and the others solved for again; eigenvalues of T are kept within bounds. Columns
// that X spans have no moments; they begin at half the residual's standard deviation.
class MomentStart {
 public:
  MomentStart(MomentEquations equations, Blocks blocks, Index n_rows);

  Matrix factor() const { return factor_of(equations_.observed); }
  // For another y, whose moments are observed.
  Matrix factor_of(const Vector& observed) const;
  const std::vector<Entry>& pairs() const { return equations_.pairs; }

 private:
  // sigma^2 and the pairs, zero where left out.
  Vector solution(const Vector& observed) const;
  Eigen::LLT<Matrix> scaled_factor(const std::vector<Index>& numbers) const;

  // Of an equation's pair; -1 stands for the residual, whose equation is the first.
  Entry rows_of(Index number) const {
    return number ? equations_.pairs[static_cast<std::size_t>(number - 1)] : Entry(-1, -1);
  }
  Index variance_of(Index row) const {
    return row < 0 ? 0 : variance_of_[static_cast<std::size_t>(row)];
  }

  MomentEquations equations_;
  Blocks blocks_;
  double n_rows_;
  std::vector<Index> variance_of_;  // the equation of each row's variance
  std::vector<Index> known_;        // equations that say something
  std::vector<Index> unknown_;      // rows of lambda of which none does
  Vector scale_;
  Eigen::LLT<Matrix> cholesky_;  // of the known ones', scaled
};

}  // namespace blocklmm
