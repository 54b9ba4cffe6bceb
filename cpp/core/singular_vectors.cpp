#include "singular_vectors.hpp"

#include <cmath>
#include <limits>
#include <utility>
#include <vector>

namespace blocklmm {
namespace {

constexpr Index kRotated = 16, kRotatedIfGraded = 64;  // sides of a square matrix
constexpr Index kMostSweeps = 40;

// The columns of Y become orthogonal, those of V are rotated alike. Returns the lengths of Y's.
Vector rotate(Matrix& Y, Matrix& V) {
  const Index n = Y.cols();
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
          for (Index k = 0; k < M->rows(); ++k) {
            const double x = (*M)(k, i), y = (*M)(k, j);
            (*M)(k, i) = cosine * x - sine * y;
            (*M)(k, j) = sine * x + cosine * y;
          }
      }
  }
  return Y.colwise().norm();
}

// Of B with its columns V'B', so that Y = U diag(s).
SingularVectors rotated_columns(Matrix Y) {
  Matrix V = Matrix::Identity(Y.cols(), Y.cols());
  const Vector s = rotate(Y, V);
  for (Index j = 0; j < s.size(); ++j)
    if (s[j] > 0) Y.col(j) /= s[j];
  return {std::move(Y), std::move(V), s};
}

SingularVectors rotated_rows(const Matrix& B) {
  Matrix rows = B.transpose(), U = Matrix::Identity(B.rows(), B.rows());
  const Vector s = rotate(rows, U);
  return {std::move(U), Matrix(), s};
}

// U, s and V'; false where LAPACK finds none, or can't count the room that it needs.
bool divide(Matrix B, const Blas& blas, SingularVectors& out, Matrix& transposed_V) {
  char thin = 'S';
  int m = static_cast<int>(B.rows()), n = static_cast<int>(B.cols()), info = 0, query = -1;
  out.U.resize(m, m);
  out.s.resize(m);
  transposed_V.resize(m, n);
  std::vector<int> places(static_cast<std::size_t>(8 * B.rows()));
  double best = 0;
  blas.gesdd(&thin, &m, &n, B.data(), &m, out.s.data(), out.U.data(), &m, transposed_V.data(), &m,
             &best, &query, places.data(), &info);
  const double least = 3.0 * m * m;
  if (info != 0 || best < least || best > std::numeric_limits<int>::max()) return false;
  auto size = static_cast<int>(best);
  std::vector<double> work(static_cast<std::size_t>(size));
  blas.gesdd(&thin, &m, &n, B.data(), &m, out.s.data(), out.U.data(), &m, transposed_V.data(), &m,
             work.data(), &size, places.data(), &info);
  return info == 0;
}

}  // namespace

SingularVectors left_singular_vectors(const Matrix& B, const Blas& blas) {
  SingularVectors found;
  Matrix transposed_V;
  const bool is_large = B.rows() * B.rows() * B.cols() > kRotated * kRotated * kRotated;
  if (B.rows() > 1 && is_large && divide(B, blas, found, transposed_V)) return found;
  return rotated_rows(B);
}

Vector singular_values(const Matrix& B) {
  Matrix Y = B, none(0, B.cols());
  return rotate(Y, none);
}

SingularVectors graded_singular_vectors(const Matrix& Y, const Blas& blas) {
  SingularVectors found;
  Matrix transposed_V;
  if (Y.cols() > kRotatedIfGraded && divide(Y, blas, found, transposed_V)) {
    found.V = transposed_V.transpose();
    return found;
  }
  return rotated_columns(Y);
}

}  // namespace blocklmm
