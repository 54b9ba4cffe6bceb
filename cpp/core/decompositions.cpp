#include "decompositions.hpp"

#include <Eigen/Eigenvalues>
#include <Eigen/LU>

namespace blocklmm {

SymmetricEigen symmetric_eigen(const Matrix& A) {
  const Eigen::SelfAdjointEigenSolver<Matrix> eigen(A);
  return {eigen.eigenvalues(), eigen.eigenvectors()};
}

Vector symmetric_eigenvalues(const Matrix& A) {
  return Eigen::SelfAdjointEigenSolver<Matrix>(A, Eigen::EigenvaluesOnly).eigenvalues();
}

Matrix inverse(const Matrix& A) { return A.inverse(); }

}  // namespace blocklmm
