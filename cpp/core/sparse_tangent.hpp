#pragma once

#include "sparse_factor.hpp"

// How the sums of A~ over the levels of each factor change with T, exactly: the elimination and the
// selected inverse of sparse_factor.hpp, differentiated. For a direction dT of one factor (zero for
// the others), with X = T E and A~0 = P A of a level,
//
//     dA_rr -= X'dB + dB'X + E'dT E - X'dA X
//     dE  = P (dB - dA X) - A~0 dT E,     dA~0 = P dA P' - A~0 dT A~0
//     dA~ = dA~0 - dE Q_rr E' - E Q_rr dE' - E dQ_rr E'
//     dQ_r = -d(Q_rr E') T - Q_rr E'dT,   dQ = dT - dT A~ T - T dA~ T - T A~ dT
//
// forwards and backwards over the levels; a leaf starts with dA = dB = 0. At the dense end
//
//     dQ = Q (T^-1 dT T^-1 - dA) Q
//     dA~ = -T^-1 dT T^-1 + T^-1 dT T^-1 Q T^-1 + T^-1 Q T^-1 dT T^-1 - T^-1 dQ T^-1
//
// for which T of the factors there must be regular.

namespace blocklmm {

class SparseTangent {
 public:
  // After factor.invert().
  SparseTangent(const SparseFactor& factor, const Blas& blas);
  // Whether T of all factors at the dense end can be inverted.
  static bool is_defined(const SparseFactor& factor);
  // Sums of dA~ by factor, for dT of one factor.
  std::vector<Matrix> along(Index factor, const Matrix& dT);

 private:
  void at_dense_end(Index factor, const Matrix& dT, std::vector<Matrix>& sums);

  const SparseFactor& factor_;
  Blas blas_;
  PatternMatrix dA_, dQ_;
  Matrix Q_dense_;  // full
};

}  // namespace blocklmm
