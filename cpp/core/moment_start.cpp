#include "moment_start.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace blocklmm {
namespace {

constexpr double kSmallest = 0.05, kLargest = 1e3;  // of lambda, in units of the columns
constexpr double kUnknown = 0.5;                    // where to begin without moments
constexpr double kNothing = 1e-8;    // equations with so little of the rows' sum of squares
constexpr double kDependent = 1e-4;  // what equations leave of another's

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

MomentStart::MomentStart(MomentEquations equations, Blocks blocks, Index n_rows)
    : equations_(std::move(equations)),
      blocks_(std::move(blocks)),
      n_rows_(static_cast<double>(n_rows)) {
  const Matrix& expected = equations_.expected;
  const std::vector<Entry>& pairs = equations_.pairs;
  const auto says_something = [&](std::size_t k) {
    const Index number = static_cast<Index>(k) + 1;
    return expected(number, number) > kNothing * expected(0, 0);
  };
  known_variances_.push_back(0);
  for (std::size_t k = 0; k < pairs.size(); ++k)
    if (pairs[k].first == pairs[k].second) {
      if (says_something(k))
        known_variances_.push_back(static_cast<Index>(k) + 1);
      else
        unknown_.push_back(pairs[k].first);
    }
  known_ = known_variances_;
  const auto is_unknown = [&](Index row) {
    return std::find(unknown_.begin(), unknown_.end(), row) != unknown_.end();
  };
  for (std::size_t k = 0; k < pairs.size(); ++k)
    if (pairs[k].first != pairs[k].second && says_something(k) && !is_unknown(pairs[k].first) &&
        !is_unknown(pairs[k].second))
      known_.push_back(static_cast<Index>(k) + 1);
  scale_ = expected.diagonal().cwiseSqrt();
  const Vector own = scale_(known_).cwiseInverse();
  cholesky_.compute(own.asDiagonal() * Matrix(expected(known_, known_)) * own.asDiagonal());
  is_regular_ = cholesky_.info() == Eigen::Success &&
                Matrix(cholesky_.matrixL()).diagonal().minCoeff() > kDependent;
}

std::optional<Vector> MomentStart::solution(const Vector& observed) const {
  if (!is_regular_) return std::nullopt;
  const Vector scale = scale_(known_);
  Vector solved = observed(known_).cwiseQuotient(scale);
  cholesky_.solveInPlace(solved);
  Vector out = Vector::Zero(observed.size());
  out(known_) = solved.cwiseQuotient(scale);
  return (out(known_variances_).array() > 0).all() ? std::optional(out) : std::nullopt;
}

Vector MomentStart::independent_variances(const Vector& observed) const {
  const Vector scale = scale_(known_variances_);
  const Matrix matrix = scale.cwiseInverse().asDiagonal() *
                        Matrix(equations_.expected(known_variances_, known_variances_)) *
                        scale.cwiseInverse().asDiagonal();
  Vector out = Vector::Zero(observed.size());
  out(known_variances_) =
      nonnegative_least_squares(matrix, observed(known_variances_).cwiseQuotient(scale))
          .cwiseQuotient(scale);
  return out;
}

Matrix MomentStart::factor_of(const Vector& observed) const {
  const std::optional<Vector> solved = solution(observed);
  const Vector found = solved ? *solved : independent_variances(observed);
  const double residual = std::max(found[0], 1e-3 * observed[0] / n_rows_);
  Matrix T = Matrix::Zero(blocks_.q(), blocks_.q());
  for (std::size_t k = 0; k < equations_.pairs.size(); ++k) {
    const auto [a, b] = equations_.pairs[k];
    T(a, b) = T(b, a) = found[static_cast<Index>(k) + 1] / residual;
  }
  for (const Index row : unknown_) T(row, row) = kUnknown * kUnknown;
  Matrix F = Matrix::Zero(blocks_.q(), blocks_.q());
  for (const TermBlock& b : blocks_) {
    const Eigen::SelfAdjointEigenSolver<Matrix> eigen(T.block(b.start, b.start, b.size, b.size));
    const Vector sizes = eigen.eigenvalues()
                             .cwiseMax(kSmallest * kSmallest)
                             .cwiseMin(kLargest * kLargest)
                             .cwiseSqrt();
    F.block(b.start, b.start, b.size, b.size) =
        eigen.eigenvectors() * sizes.asDiagonal() * eigen.eigenvectors().transpose();
  }
  return F;
}

}  // namespace blocklmm
