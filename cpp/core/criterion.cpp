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

}  // namespace

Evaluation profiled(const Matrix& S, double log_det_V, Index n, bool reml) {
  const Index m = S.rows(), p = m - 1;
  const Matrix R = upper_factor(S);
  const double nu = static_cast<double>(reml ? n - p : n), r = R(p, p);
  require(nu > 0, "more rows than coefficients");
  Evaluation result;
  result.value = log_det_V + nu * (1 + kLog2Pi + 2 * std::log(r) - std::log(nu));
  if (reml) result.value += 2 * R.diagonal().head(p).array().log().sum();
  result.inverse_factor = R.triangularView<Eigen::Upper>().solve(Matrix::Identity(m, m));
  return result;
}

}  // namespace blocklmm
