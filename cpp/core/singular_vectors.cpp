#include "singular_vectors.hpp"

#include <Eigen/SVD>
#include <cmath>
#include <limits>

namespace blocklmm {
namespace {

constexpr Index kRotated = 64, kJacobi = 16, kMostSweeps = 40;

template <class Svd>
SingularVectors all_of(const Svd& svd, bool with_V) {
  return {svd.matrixU(), with_V ? Matrix(svd.matrixV()) : Matrix(), svd.singularValues()};
}

}  // namespace

SingularVectors left_singular_vectors(const Matrix& B) {
  if (B.rows() == 0) return {Matrix(0, 0), Matrix(), Vector(0)};
  if (B.rows() == 1) return {Matrix::Ones(1, 1), Matrix(), Vector::Constant(1, B.row(0).norm())};
  if (B.rows() <= kJacobi) return all_of(Eigen::JacobiSVD<Matrix>(B, Eigen::ComputeThinU), false);
  return all_of(Eigen::BDCSVD<Matrix>(B, Eigen::ComputeThinU), false);
}

Vector singular_values(const Matrix& B) { return Eigen::JacobiSVD<Matrix>(B).singularValues(); }

SingularVectors graded_singular_vectors(Matrix Y) {
  const Index n = Y.cols();
  if (n > kRotated)
    return all_of(Eigen::BDCSVD<Matrix>(Y, Eigen::ComputeThinU | Eigen::ComputeThinV), true);
  Matrix V = Matrix::Identity(n, n);
  const double orthogonal = static_cast<double>(n) * std::numeric_limits<double>::epsilon();
  bool any = true;
  for (Index sweep = 0; any && sweep < kMostSweeps; ++sweep) {
    any = false;
    for (Index i = 0; i < n; ++i)
      for (Index j = i + 1; j < n; ++j) {
        const double a = Y.col(i).squaredNorm(), b = Y.col(j).squaredNorm();
        const double c = Y.col(i).dot(Y.col(j));
        if (!(std::abs(c) > orthogonal * std::sqrt(a) * std::sqrt(b))) continue;
        any = true;
        const double zeta = (b - a) / (2 * c);
        const double tangent = std::copysign(1.0, zeta) / (std::abs(zeta) + std::hypot(1.0, zeta));
        const double cosine = 1 / std::hypot(1.0, tangent), sine = cosine * tangent;
        for (Matrix* M : {&Y, &V})
          for (Index k = 0; k < n; ++k) {
            const double x = (*M)(k, i), y = (*M)(k, j);
            (*M)(k, i) = cosine * x - sine * y;
            (*M)(k, j) = sine * x + cosine * y;
          }
      }
  }
  const Vector s = Y.colwise().norm();
  for (Index j = 0; j < n; ++j)
    if (s[j] > 0) Y.col(j) /= s[j];
  return {std::move(Y), std::move(V), s};
}

}  // namespace blocklmm
