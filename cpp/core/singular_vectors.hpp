#pragma once

#include "types.hpp"

namespace blocklmm {

// B = U diag(s) V' for B no taller than wide, V where it is wanted.
struct SingularVectors {
  Matrix U, V;
  Vector s;
};
SingularVectors left_singular_vectors(const Matrix& B);  // U and s

Vector singular_values(const Matrix& B);

// Of a square Y whose columns are of very different lengths. Up to some size the columns are
// rotated until they are orthogonal (Hestenes 1958; Demmel & Veselic 1992): whatever the lengths,
// each singular vector is as exact as if they were equal.
SingularVectors graded_singular_vectors(Matrix Y);

}  // namespace blocklmm
