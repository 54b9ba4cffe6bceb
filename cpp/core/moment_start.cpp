#include "moment_start.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "decompositions.hpp"

namespace blocklmm {
namespace {

constexpr double kSmallest = 0.05, kLargest = 1e3;  // of lambda, in units of the columns
constexpr double kUnknown = 0.5;                    // where to begin without moments
constexpr double kNothing = 1e-8;  // equations with so little of the rows' sum of squares
constexpr double kRidge = 1e-13;   // shares what equations explain that hardly differ

}  // namespace

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
  variance_of_.resize(static_cast<std::size_t>(blocks_.q()));
  for (std::size_t k = 0; k < pairs.size(); ++k)
    if (pairs[k].first == pairs[k].second) {
      variance_of_[static_cast<std::size_t>(pairs[k].first)] = static_cast<Index>(k) + 1;
      if (!says_something(k)) unknown_.push_back(pairs[k].first);
    }
  const auto is_unknown = [&](Index row) {
    return std::find(unknown_.begin(), unknown_.end(), row) != unknown_.end();
  };
  known_.push_back(0);
  for (std::size_t k = 0; k < pairs.size(); ++k)
    if (says_something(k) && !is_unknown(pairs[k].first) && !is_unknown(pairs[k].second))
      known_.push_back(static_cast<Index>(k) + 1);
  scale_ = expected.diagonal().cwiseSqrt();
  cholesky_ = scaled_factor(known_);
}

Eigen::LLT<Matrix> MomentStart::scaled_factor(const std::vector<Index>& numbers) const {
  const Vector own = scale_(numbers).cwiseInverse();
  Matrix scaled =
      own.asDiagonal() * Matrix(equations_.expected(numbers, numbers)) * own.asDiagonal();
  scaled.diagonal().array() += kRidge;
  return Eigen::LLT<Matrix>(scaled);
}

Vector MomentStart::solution(const Vector& observed) const {
  Vector out = Vector::Zero(observed.size());
  std::vector<Index> left = known_;
  for (bool is_first = true; !left.empty(); is_first = false) {
    const Vector scale = scale_(left);
    Vector solved = observed(left).cwiseQuotient(scale);
    (is_first ? cholesky_ : scaled_factor(left)).solveInPlace(solved);
    out.setZero();
    out(left) = solved.cwiseQuotient(scale);
    const auto is_negative = [&](Index row) { return !(out[variance_of(row)] > 0); };
    const auto n_before = left.size();
    left.erase(std::remove_if(left.begin(), left.end(),
                              [&](Index number) {
                                const auto [a, b] = rows_of(number);
                                return is_negative(a) || is_negative(b);
                              }),
               left.end());
    if (left.size() == n_before) break;
  }
  return out;
}

Matrix MomentStart::factor_of(const Vector& observed) const {
  const Vector found = solution(observed);
  const double residual = std::max(found[0], 1e-3 * observed[0] / n_rows_);
  Matrix T = Matrix::Zero(blocks_.q(), blocks_.q());
  for (std::size_t k = 0; k < equations_.pairs.size(); ++k) {
    const auto [a, b] = equations_.pairs[k];
    T(a, b) = T(b, a) = found[static_cast<Index>(k) + 1] / residual;
  }
  for (const Index row : unknown_) T(row, row) = kUnknown * kUnknown;
  Matrix F = Matrix::Zero(blocks_.q(), blocks_.q());
  for (const TermBlock& b : blocks_) {
    const auto [values, vectors] = symmetric_eigen(T.block(b.start, b.start, b.size, b.size));
    const Vector sizes =
        values.cwiseMax(kSmallest * kSmallest).cwiseMin(kLargest * kLargest).cwiseSqrt();
    F.block(b.start, b.start, b.size, b.size) = vectors * sizes.asDiagonal() * vectors.transpose();
  }
  return F;
}

}  // namespace blocklmm
