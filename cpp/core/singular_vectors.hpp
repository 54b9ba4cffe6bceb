#pragma once

#include "blas.hpp"
#include "types.hpp"

namespace blocklmm {

// B = U diag(s) V', in no order, for B no taller than wide whose squares don't overflow. Up to some
// size columns are rotated until they are orthogonal (Hestenes 1958), beyond it LAPACK divides and
// conquers: singular values are then exact to roundings of the largest.
struct SingularVectors {
  Matrix U, V;
  Vector s;
};
SingularVectors left_singular_vectors(const Matrix& B, const Blas& blas);  // U and s alone

Vector singular_values(const Matrix& B);  // in no order

// Of a square Y whose columns are of very different lengths. Rotating them makes each singular
// vector as exact as if they were equal (Demmel & Veselic 1992), so it is done up to larger sizes.
SingularVectors graded_singular_vectors(const Matrix& Y, const Blas& blas);

}  // namespace blocklmm
