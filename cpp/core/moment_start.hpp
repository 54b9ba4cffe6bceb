#pragma once

#include <Eigen/Cholesky>
#include <optional>
#include <vector>

#include "moment_equations.hpp"

namespace blocklmm {

// x >= 0 that minimises |A x - b|, by active sets (Lawson & Hanson 1974, ch. 23).
Vector nonnegative_least_squares(const Matrix& A, const Vector& b);

// Where an optimiser may begin: a factor F of T = FF' by moments, in parts of the residual variance;
// block diagonal, its blocks symmetric. Where the equations have no solution that is a covariance
// matrix, the columns of Z are taken as independent. Columns that X spans have no moments; they
// begin at half the residual's standard deviation.
class MomentStart {
 public:
  MomentStart(MomentEquations equations, Blocks blocks, Index n_rows);

  Matrix factor() const { return factor_of(equations_.observed); }
  // For another y, whose moments are observed.
  Matrix factor_of(const Vector& observed) const;
  const std::vector<Entry>& pairs() const { return equations_.pairs; }

 private:
  // sigma^2 and the pairs; nothing where they are no variances.
  std::optional<Vector> solution(const Vector& observed) const;
  Vector independent_variances(const Vector& observed) const;

  MomentEquations equations_;
  Blocks blocks_;
  double n_rows_;
  std::vector<Index> known_, known_variances_;  // equations that say something
  std::vector<Index> unknown_;                  // rows of lambda of which none does
  Vector scale_;
  Eigen::LLT<Matrix> cholesky_;  // of the known ones', scaled
  bool is_regular_ = false;
};

}  // namespace blocklmm
