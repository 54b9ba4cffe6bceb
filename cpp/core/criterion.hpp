#pragma once

#include <utility>

#include "types.hpp"

namespace blocklmm {

using Entry = std::pair<Index, Index>;  // row and column of a free entry of lambda

// What is minimised over lambda: the REML criterion or minus twice the log-likelihood, with sigma
// and beta profiled out unless something is said of them. In the units of Standardization.
struct Criterion {
  Criterion(bool is_reml) : reml(is_reml) {}  // NOLINT: true and false are criteria
  bool reml;
  double sigma = 0;  // the residual standard deviation where it is held fixed, else 0
  Vector contrast;   // c where c'beta = at is held fixed (maximum likelihood only), else empty
  double at = 0;
  double nu(Index n, Index p) const { return static_cast<double>(reml ? n - p : n); }
};

// The criterion at one lambda, in the units of Standardization.
struct Evaluation {
  double value = 0;       // f
  Matrix inverse_factor;  // R_S^-1, (p+1) x (p+1) upper triangular
  // N with G_S = N N' (upper triangular): S_XX^-1 from its first p columns, within what is held
  // fixed, and w e in its last one, e = (-beta; 1), w^2 = nu / r^2 (1 / sigma^2 for a fixed sigma).
  Matrix N;
  Vector gradient;
  Matrix hessian, gamma;  // empty where only the value was asked for
  Vector rss_gradient;    // w^2 dr^2/dlambda, for the derivatives in a fixed sigma
};

// With S = M'V^-1M = R_S'R_S of M = [X y], r the last diagonal entry of R_S, and nu = n - p (REML)
// or n (ML):
//
//     f = log|V| + [log|S_XX|] + nu (1 + log(2 pi r^2 / nu))
//     f = log|V| + [log|S_XX|] + nu log(2 pi sigma^2) + r^2 / sigma^2     where sigma is fixed
//
// Where c'beta = b is fixed, with v = R_XX^-T c, u = v/|v| and g = (c'beta^ - b) / |v|,
//
//     beta = beta^ - g R_XX^-1 u,   r^2 grows by g^2,   S_XX^-1 shrinks to R_XX^-1 (I - u u') R_XX^-T
//
// Sets value, R_S^-1 and N. Throws NotPositiveDefinite with the first pivot that is not positive.
Evaluation profiled(const Matrix& S, double log_det_V, Index n, const Criterion& criterion);

}  // namespace blocklmm
