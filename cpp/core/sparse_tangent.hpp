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
// where T of the factors there is regular; and where it is not, with P = I - A Q and A~ = P A,
//
//     dQ = P'dT P - Q dA Q,     dA~ = P dA P' - A~ dT A~

namespace blocklmm {

class SparseTangent {
 public:
  // After factor.invert().
  SparseTangent(const SparseFactor& factor, const Blas& blas);
  // Sums of dA~ by factor, for dT of one factor.
  std::vector<Matrix> along(Index factor, const Matrix& dT);

 private:
  void at_dense_end(Index factor, const Matrix& dT, std::vector<Matrix>& sums);
  void at_irregular_end(Index factor, const Matrix& dT, std::vector<Matrix>& sums);
  // op(A) B of matrices with the side of the dense end
  Matrix product(const Matrix& A, const Matrix& B, bool transposed = false) const;

  const SparseFactor& factor_;
  Blas blas_;
  PatternMatrix dA_, dQ_;
  Matrix Q_dense_;            // full
  Matrix P_dense_, A_tilde_;  // where a T is irregular, else empty
};

}  // namespace blocklmm
