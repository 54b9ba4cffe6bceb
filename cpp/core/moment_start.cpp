#include "moment_start.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace blocklmm {
namespace {

constexpr double kSmallest = 0.05, kLargest = 1e3;  // of lambda, in units of the columns

}  // namespace

Vector nonnegative_least_squares(const Matrix& A, const Vector& b) {
  const Index n = A.cols();
  const double rounding = 10 * std::numeric_limits<double>::epsilon() *
                          static_cast<double>(std::max(A.rows(), n)) *
                          A.cwiseAbs().colwise().sum().maxCoeff();
  Vector x = Vector::Zero(n);
  std::vector<Index> free;
  // each step of the outer loop frees a column for good, but for rounding
  for (Index step = 0; step < 3 * n; ++step) {
    const Vector slope = A.transpose() * (b - A * x);
    Index best = -1;
    for (Index j = 0; j < n; ++j)
      if (std::find(free.begin(), free.end(), j) == free.end() && slope[j] > rounding * b.norm() &&
          (best < 0 || slope[j] > slope[best]))
        best = j;
    if (best < 0) break;
    free.push_back(best);
    while (!free.empty()) {
      const Vector s = A(Eigen::all, free).colPivHouseholderQr().solve(b);
      double length = 1;
      for (std::size_t k = 0; k < free.size(); ++k) {
        const auto i = static_cast<Index>(k);
        if (s[i] <= 0) length = std::min(length, x[free[k]] / (x[free[k]] - s[i]));
      }
      if (!std::isfinite(length)) length = 0;
      const bool is_inside = (s.array() > 0).all();
      std::vector<Index> kept;
      for (std::size_t k = 0; k < free.size(); ++k) {
        double& value = x[free[k]];
        value = is_inside ? s[static_cast<Index>(k)]
                          : value + length * (s[static_cast<Index>(k)] - value);
        if (is_inside || value > rounding)
          kept.push_back(free[k]);
        else
          value = 0;
      }
      const bool is_done = is_inside || kept.size() == free.size();
      free = std::move(kept);
      if (is_done) break;
    }
  }
  return x;
}

Vector moment_start(const MomentEquations& equations, Index n_rows) {
  const Matrix& expected = equations.expected;
  const Vector& observed = equations.observed;
  std::vector<Index> known;
  for (Index i = 0; i < expected.rows(); ++i)
    if (expected(i, i) > 1e-8 * expected(0, 0)) known.push_back(i);
  Vector size = Vector::Constant(expected.rows(), 0.5);
  if (known.empty()) return size.tail(size.size() - 1);
  const Matrix chosen = expected(known, known);
  const Vector scale = chosen.diagonal().cwiseSqrt();
  const Matrix matrix =
      scale.cwiseInverse().asDiagonal() * chosen * scale.cwiseInverse().asDiagonal();
  const Vector target = observed(known).cwiseQuotient(scale);
  const Vector variances = nonnegative_least_squares(matrix, target).cwiseQuotient(scale);
  const double residual = std::max(variances[0], 1e-3 * observed[0] / static_cast<double>(n_rows));
  for (std::size_t k = 0; k < known.size(); ++k)
    size[known[k]] = std::sqrt(std::clamp(variances[static_cast<Index>(k)] / residual,
                                          kSmallest * kSmallest, kLargest * kLargest));
  return size.tail(size.size() - 1);
}

}  // namespace blocklmm
