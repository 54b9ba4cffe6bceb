#include "spread_objective.hpp"

#include "covariance_sums.hpp"
#include "criterion_derivatives.hpp"
#include "errors.hpp"
#include "parallel.hpp"
#include "patterns.hpp"

namespace blocklmm {
namespace {

// sum_ab M_ab G_ab over the q x q blocks M_ab of moments.
Matrix contracted(const Matrix& moments, const Matrix& G, Index q) {
  Matrix out = Matrix::Zero(q, q);
  for (Index a = 0; a < G.rows(); ++a)
    for (Index b = 0; b < G.cols(); ++b) out += G(a, b) * moments.block(a * q, b * q, q, q);
  return out;
}

DerivativeSums derivative_sums(const CovarianceSums& sums, const Matrix& K, bool is_reml) {
  const Index q = sums.q, m = sums.m, h = q * (q + 1) / 2;
  const Matrix used = is_reml ? K : Matrix(K.col(m - 1)), G = used * used.transpose();
  const Matrix moments = sums.moments(), W = contracted(moments, G, q);
  DerivativeSums out{Vector(h), Vector(h * (h + 1) / 2), moments_in_basis(moments, K, q)};
  std::vector<Entry> entries;
  for (Index i = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j) entries.emplace_back(i, j);
  Matrix AW(h, h);  // sum A~_k W_l
  for (Index k = 0; k < h; ++k) {
    const auto [i, j] = entries[static_cast<std::size_t>(k)];
    out.gamma[k] = sums.A(i, j) - W(i, j);
    const Matrix row = contracted(sums.A_moments(i, j), G, q);
    for (Index l = 0; l < h; ++l) {
      const auto [u, v] = entries[static_cast<std::size_t>(l)];
      AW(k, l) = row(u, v);
    }
  }
  for (Index k = 0, at = 0; k < h; ++k)
    for (Index l = 0; l <= k; ++l) {
      const auto [i, j] = entries[static_cast<std::size_t>(k)];
      const auto [u, v] = entries[static_cast<std::size_t>(l)];
      out.curvature[at++] = AW(k, l) + AW(l, k) - sums.A_pairs(i, j, u, v);
    }
  return out;
}

}  // namespace

SpreadObjective::SpreadObjective(Standardization units, const Matrix& explained, Index rank_of_z,
                                 std::vector<Entry> free_entries, Gather gather)
    : units_(std::move(units)),
      within_(units_.C - explained),
      rank_of_z_(rank_of_z),
      free_(std::move(free_entries)),
      gather_(std::move(gather)) {
  const Index m = units_.p + 1;
  PackedGroups::clean(within_, units_);
  const Eigen::LLT<Matrix> root(units_.C);
  R_C_ = root.info() == Eigen::Success ? Matrix(root.matrixU()) : Matrix(Matrix::Identity(m, m));
  N0_ = R_C_.triangularView<Eigen::Upper>().solve(Matrix::Identity(m, m));
}

Vector SpreadObjective::gathered(const Matrix& lambda, bool derivatives) const {
  const Index q = units_.q, m = units_.p + 1;
  require(lambda.rows() == q && lambda.cols() == q, "lambda is q x q");
  const Matrix parts = gather_(lambda, N0_, derivatives);
  const Index size = 1 + m * (m + 1) / 2 + (derivatives ? CovarianceSums::size(q, m) : 0);
  require(parts.rows() == size, "the sums of all parts, a column each");
  PairwiseSum<Vector> sum;
  for (Index part = 0; part < parts.cols(); ++part) sum.add(parts.col(part));
  return sum.total(Vector::Zero(size));
}

Evaluation SpreadObjective::value(const Vector& sums, const Criterion& criterion) const {
  const Index m = units_.p + 1;
  Matrix S = within_;
  for (Index i = 0, at = 1; i < m; ++i)
    for (Index j = 0; j <= i; ++j, ++at) {
      S(i, j) += sums[at];
      if (i != j) S(j, i) += sums[at];
    }
  return profiled(S, sums[0], units_.n, criterion);
}

Evaluation SpreadObjective::evaluate(const Matrix& lambda, const Criterion& criterion,
                                     bool derivatives) const {
  const Vector sums = gathered(lambda, derivatives);
  Evaluation result = value(sums, criterion);
  if (!derivatives) return result;
  const Index q = units_.q, m = units_.p + 1;
  const CovarianceSums of_groups(q, m, sums.tail(CovarianceSums::size(q, m)));
  set_derivatives(derivative_sums(of_groups, R_C_ * result.N, criterion.reml), lambda, free_,
                  criterion, units_.n, result);
  return result;
}

CovarianceDerivatives SpreadObjective::covariance_derivatives(const Matrix& lambda) const {
  const Vector sums = gathered(lambda, true);
  const Index q = units_.q, m = units_.p + 1;
  const CovarianceSums of_groups(q, m, sums.tail(CovarianceSums::size(q, m)));
  return blocklmm::covariance_derivatives(of_groups, R_C_ * value(sums, true).inverse_factor,
                                          free_);
}

}  // namespace blocklmm
