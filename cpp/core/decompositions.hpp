#pragma once

#include "types.hpp"

// Decompositions of small matrices that several files ask for. Eigen's templates take the compiler
// seconds each time, so they are instantiated here alone.

namespace blocklmm {

struct SymmetricEigen {
  Vector values;  // ascending
  Matrix vectors;
};
SymmetricEigen symmetric_eigen(const Matrix& A);
Vector symmetric_eigenvalues(const Matrix& A);

Matrix inverse(const Matrix& A);

}  // namespace blocklmm
