#include "criterion.hpp"

#include <cmath>

#include "errors.hpp"

namespace blocklmm {
namespace {

constexpr double kLog2Pi = 1.837877066409345483560659472811;

// S = R'R by columns; a pivot that is not positive ends it.
Matrix upper_factor(const Matrix& S) {
  const Index m = S.rows();
  Matrix R = Matrix::Zero(m, m);
  for (Index j = 0; j < m; ++j) {
    for (Index i = 0; i < j; ++i)
      R(i, j) = (S(i, j) - R.col(i).head(i).dot(R.col(j).head(i))) / R(i, i);
    const double pivot = S(j, j) - R.col(j).head(j).squaredNorm();
    if (!(pivot > 0) || !std::isfinite(pivot)) throw NotPositiveDefinite(j);
    R(j, j) = std::sqrt(pivot);
  }
  return R;
}

// The upper triangular U with U U' = B B'.
Matrix upper_root(const Matrix& B) {
  const Eigen::HouseholderQR<Matrix> qr(B.transpose().rowwise().reverse());
  const Matrix R = qr.matrixQR().triangularView<Eigen::Upper>();
  return R.transpose().colwise().reverse().rowwise().reverse();
}

}  // namespace

Evaluation profiled(const Matrix& S, double log_det_V, Index n, const Criterion& criterion) {
  const Index m = S.rows(), p = m - 1;
  const Matrix R = upper_factor(S);
  const double nu = criterion.nu(n, p);
  require(nu > 0, "more rows than coefficients");
  Evaluation result;
  result.inverse_factor = R.triangularView<Eigen::Upper>().solve(Matrix::Identity(m, m));
  Matrix& N = result.N;
  N = result.inverse_factor;
  double r = R(p, p);
  if (criterion.contrast.size()) {
    require(criterion.contrast.size() == p && !criterion.reml, "a contrast of beta, under ML");
    const Matrix N_X = N.topLeftCorner(p, p);
    const Vector v = N_X.transpose() * criterion.contrast;
    require(v.norm() > 0, "a contrast that is not zero");
    const Vector u = v.normalized();
    const double estimate = -criterion.contrast.dot(N.col(p).head(p)) / N(p, p);
    const double g = (estimate - criterion.at) / v.norm();
    const Vector e = N.col(p) * r;
    r = std::hypot(r, g);
    N.topLeftCorner(p, p) = upper_root(N_X - N_X * u * u.transpose());
    N.col(p).head(p) = (e.head(p) + g * (N_X * u)) / r;
    N(p, p) = 1 / r;
  }
  const double sigma = criterion.sigma;
  if (sigma > 0) {
    result.value = log_det_V + nu * (kLog2Pi + 2 * std::log(sigma)) + (r / sigma) * (r / sigma);
    N.col(p) *= r / sigma;
  } else {
    result.value = log_det_V + nu * (1 + kLog2Pi + 2 * std::log(r) - std::log(nu));
    N.col(p) *= std::sqrt(nu);
  }
  if (criterion.reml) result.value += 2 * R.diagonal().head(p).array().log().sum();
  return result;
}

}  // namespace blocklmm
