#pragma once

#include <utility>

#include "types.hpp"

namespace blocklmm {

using Entry = std::pair<Index, Index>;  // row and column of a free entry of lambda

// The criterion at one lambda, in the units of Standardization.
struct Evaluation {
  double value = 0;       // f
  Matrix inverse_factor;  // R_S^-1, (p+1) x (p+1) upper triangular
  Vector gradient;
  Matrix hessian, gamma;  // empty where only the value was asked for
};

// With S = M'V^-1M = R_S'R_S of M = [X y], r the last diagonal entry of R_S, and nu = n - p (REML)
// or n (ML): f = log|V| + [log|S_XX|] + nu (1 + log(2 pi r^2 / nu)). Sets value and R_S^-1.
// Throws NotPositiveDefinite with the first pivot that is not positive.
Evaluation profiled(const Matrix& S, double log_det_V, Index n, bool reml);

}  // namespace blocklmm
