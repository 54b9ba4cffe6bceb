#include "sparse_objective.hpp"

#include <cmath>
#include <utility>

#include "errors.hpp"
#include "sparse_tangent.hpp"

namespace blocklmm {
namespace {

std::vector<Direction> directions_of(const Members& members, const std::vector<Index>& blocks,
                                     const Vector& z_scale) {
  std::vector<std::pair<Index, Index>> place(static_cast<std::size_t>(z_scale.size()));
  for (std::size_t f = 0; f < members.size(); ++f)
    for (std::size_t k = 0; k < members[f].size(); ++k)
      place[static_cast<std::size_t>(members[f][k])] = {static_cast<Index>(f),
                                                        static_cast<Index>(k)};
  std::vector<Direction> out;
  Index start = 0;
  for (const Index size : blocks) {
    for (Index b = start; b < start + size; ++b)
      for (Index a = start; a <= b; ++a) {
        const auto [f, local_a] = place[static_cast<std::size_t>(a)];
        const auto [g, local_b] = place[static_cast<std::size_t>(b)];
        require(f == g, "the columns of a term belong to one factor");
        out.push_back({f, a, b, local_a, local_b, 1 / (z_scale[a] * z_scale[b])});
      }
    start += size;
  }
  return out;
}

// Free entries of lambda: all of its blocks, column by column.
std::vector<Entry> entries_of(const std::vector<Index>& blocks) {
  std::vector<Entry> out;
  Index start = 0;
  for (const Index size : blocks) {
    for (Index b = start; b < start + size; ++b)
      for (Index a = start; a < start + size; ++a) out.emplace_back(a, b);
    start += size;
  }
  return out;
}

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// The numbers of each effect, as a row, times a square matrix.
Effects times(Effects effects, const Matrix& N) {
  for (AlignedVector* part : {&effects.leaf, &effects.rest}) {
    Eigen::Map<Rows> rows(part->data(), static_cast<Index>(part->size()) / effects.m, effects.m);
    rows *= N;
  }
  return effects;
}

// tr(M dT) of a symmetric M of the direction's factor.
double along(const Direction& d, const Matrix& M) {
  return (d.local_a == d.local_b ? 1 : 2) * d.scale * M(d.local_a, d.local_b);
}

// dT in an entry (a, b) of lambda is e_a l' + l e_a', l column b: its parts along the directions.
Matrix jacobian(const std::vector<Entry>& entries, const std::vector<Direction>& directions,
                const Matrix& lambda) {
  Matrix J =
      Matrix::Zero(static_cast<Index>(entries.size()), static_cast<Index>(directions.size()));
  for (std::size_t k = 0; k < entries.size(); ++k)
    for (std::size_t d = 0; d < directions.size(); ++d) {
      const auto [a, b] = entries[k];
      const Direction& pair = directions[d];
      double& weight = J(static_cast<Index>(k), static_cast<Index>(d));
      if (pair.a == a) weight += lambda(pair.b, b);
      if (pair.b == a) weight += lambda(pair.a, b);
    }
  return J;
}

}  // namespace

SparseObjective::SparseObjective(const Statistics& statistics, std::vector<Index> x_columns,
                                 Members members, std::vector<Index> blocks, const Blas& blas,
                                 double memory_limit)
    : statistics_(statistics),
      units_(statistics, std::move(x_columns), members),
      members_(std::move(members)),
      blocks_(std::move(blocks)),
      blas_(blas),
      plan_(statistics, memory_limit) {
  Index n_rows = 0;
  for (const Index size : blocks_) n_rows += size;
  require(n_rows == units_.q, "blocks along lambda");
}

void SparseObjective::take_response() { units_.take_response(statistics_); }

std::map<std::string, double> SparseObjective::take_seconds() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!factor_) return {};
  const auto seconds = factor_->stopwatch().seconds();
  factor_->stopwatch().reset();
  return seconds;
}

std::vector<Matrix> SparseObjective::by_factor(const Matrix& lambda) const {
  const Matrix raw = units_.z_scale.cwiseInverse().asDiagonal() * lambda;
  std::vector<Matrix> out;
  for (const auto& rows : members_) out.push_back(raw(rows, rows));
  return out;
}

MomentEquations SparseObjective::moment_equations() const {
  return blocklmm::moment_equations(statistics_, units_, members_, Blocks(blocks_));
}

std::vector<Vector> SparseObjective::z_units() const {
  std::vector<Vector> out;
  for (const auto& rows : members_) out.push_back(units_.z_scale(rows));
  return out;
}

SparseFactor& SparseObjective::factored(const Matrix& lambda, int n_threads, double& logdet) const {
  require(lambda.rows() == units_.q && lambda.cols() == units_.q, "lambda is q x q");
  if (!factor_) factor_ = std::make_unique<SparseFactor>(statistics_, plan_, blas_);
  logdet = factor_->factor(by_factor(lambda), z_units(), n_threads);
  return *factor_;
}

Evaluation SparseObjective::eliminated(const Matrix& lambda, const Criterion& criterion,
                                       int n_threads, Effects& D) const {
  double logdet = 0;
  factored(lambda, n_threads, logdet);
  D = factor_->right_hand_sides(units_.m_columns);
  const Vector m_unit = units_.m_scale.cwiseInverse();
  const Matrix S = units_.C - m_unit.asDiagonal() * factor_->forward(D) * m_unit.asDiagonal();
  return profiled(S, logdet, units_.n, criterion);
}

Evaluation SparseObjective::evaluate(const Matrix& lambda, const Criterion& criterion,
                                     bool derivatives, ExactHessian exact_hessian,
                                     int n_threads) const {
  const Index p = units_.p, q = units_.q, m = p + 1;
  const std::lock_guard<std::mutex> lock(mutex_);
  Effects D(plan_, 0);
  Evaluation result = eliminated(lambda, criterion, n_threads, D);
  if (!derivatives) return result;
  const Vector m_unit = units_.m_scale.cwiseInverse();

  factor_->backward(D);
  const Effects J = times(std::move(D), m_unit.asDiagonal() * result.N);
  const bool reml = criterion.reml;
  const std::vector<Direction> directions = directions_of(members_, blocks_, units_.z_scale);
  const bool exact = exact_hessian == ExactHessian::always;
  const Slopes slopes = slopes_of(J, directions, exact && reml ? m : 1, exact);
  // what profiling sigma out takes from the curvature
  const double through_sigma = criterion.sigma > 0 ? 0 : 1 / criterion.nu(units_.n, p);
  Matrix of_T = curvature(slopes, through_sigma, reml, exact);

  std::vector<Matrix> sums = factor_->invert(n_threads);
  if (exact) of_T -= trace_pairs(directions);
  Matrix& gamma = result.gamma;
  gamma = Matrix::Zero(q, q);
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const auto& rows = members_[static_cast<std::size_t>(f)];
    const auto n_own = static_cast<Index>(rows.size());
    Matrix& sum = sums[static_cast<std::size_t>(f)];
    const Index n_columns = reml ? m : 1;
    for (Index l = 0; l < statistics_.factor(f).n_levels(); ++l) {
      const Eigen::Map<const Rows> all(factor_->values_of(J, f, l), n_own, m);
      sum.noalias() -= all.rightCols(n_columns) * all.rightCols(n_columns).transpose();
    }
    for (Index a = 0; a < n_own; ++a)
      for (Index b = 0; b < n_own; ++b) {
        const Index i = rows[static_cast<std::size_t>(a)];
        const Index j = rows[static_cast<std::size_t>(b)];
        gamma(i, j) = sum(a, b) / (units_.z_scale[i] * units_.z_scale[j]);
      }
  }

  const std::vector<Entry> entries = entries_of(blocks_);
  const Matrix gamma_lambda = gamma * lambda, to_T = jacobian(entries, directions, lambda);
  const auto n_free = static_cast<Index>(entries.size());
  Vector rss_of_T(static_cast<Index>(directions.size()));
  for (std::size_t k = 0; k < directions.size(); ++k)
    rss_of_T[static_cast<Index>(k)] = slopes.S[k](p, p);
  result.rss_gradient = to_T * rss_of_T;
  result.gradient.resize(n_free);
  result.hessian.noalias() = to_T * of_T * to_T.transpose();
  for (Index k = 0; k < n_free; ++k) {
    const auto [a, b] = entries[static_cast<std::size_t>(k)];
    result.gradient[k] = 2 * gamma_lambda(a, b);
    for (Index l = 0; l < n_free; ++l) {
      const auto [c, d] = entries[static_cast<std::size_t>(l)];
      if (b == d) result.hessian(k, l) += 2 * gamma(a, c);
    }
  }
  return result;
}

// All of S^_k, or its last column alone; c'Z'V^-1 Z c for the last `n_columns` columns of c.
SparseObjective::Slopes SparseObjective::slopes_of(const Effects& J,
                                                   const std::vector<Direction>& directions,
                                                   Index n_columns, bool whole) const {
  const Index m = units_.p + 1, n_directions = static_cast<Index>(directions.size());
  Effects c(plan_, n_directions * n_columns);
  Slopes out{std::vector<Matrix>(directions.size(), Matrix::Zero(m, m)), {}, n_columns};
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const Index q = statistics_.factor(f).n_random();
    for (Index l = 0; l < statistics_.factor(f).n_levels(); ++l) {
      const Eigen::Map<const Rows> own(factor_->values_of(J, f, l), q, m);
      double* to = factor_->values_of(c, f, l);
      for (std::size_t k = 0; k < directions.size(); ++k) {
        const Direction& d = directions[k];
        if (d.factor != f) continue;
        // dT J: row a gets row b of J, and row b row a
        const auto place = [&](Index a, Index b) {
          double* row = to + a * c.m + static_cast<Index>(k) * n_columns;
          for (Index j = 0; j < n_columns; ++j) row[j] = d.scale * own(b, m - n_columns + j);
          if (whole)
            out.S[k].noalias() -= d.scale * own.row(a).transpose() * own.row(b);
          else
            out.S[k].col(m - 1).noalias() -= d.scale * own(b, m - 1) * own.row(a).transpose();
        };
        place(d.local_a, d.local_b);
        if (d.local_a != d.local_b) place(d.local_b, d.local_a);
      }
    }
  }
  Effects a = factor_->products(c);
  Matrix& all = out.products;
  all = Matrix::Zero(c.m, c.m);
  const auto add_products = [&](const AlignedVector& left, const AlignedVector& right) {
    using Panel = Eigen::Map<const Rows>;
    const auto n = static_cast<Index>(left.size()) / c.m;
    all.noalias() += Panel(left.data(), n, c.m).transpose() * Panel(right.data(), n, c.m);
  };
  add_products(c.leaf, a.leaf);
  add_products(c.rest, a.rest);
  all -= factor_->forward(a);
  return out;
}

Matrix SparseObjective::curvature(const Slopes& slopes, double through_sigma, bool reml,
                                  bool exact) const {
  const Index p = units_.p, n_directions = static_cast<Index>(slopes.S.size());
  Matrix out(n_directions, n_directions);
  for (Index k = 0; k < n_directions; ++k)
    for (Index l = 0; l < n_directions; ++l) {
      const Matrix& S_k = slopes.S[static_cast<std::size_t>(k)];
      const Matrix& S_l = slopes.S[static_cast<std::size_t>(l)];
      const double quadratic = slopes.of(k, l).trace();
      const double mixed = S_k.col(p).head(p).dot(S_l.col(p).head(p));
      const double scale = S_k(p, p) * S_l(p, p) * through_sigma;
      out(k, l) = exact ? 2 * (quadratic - mixed) - scale : quadratic - mixed - scale;
      if (exact && reml)
        out(k, l) -= S_k.topLeftCorner(p, p).cwiseProduct(S_l.topLeftCorner(p, p)).sum();
    }
  return (0.5 * (out + out.transpose())).eval();
}

// tr(A~ dT_k A~ dT_l) over all pairs of levels.
Matrix SparseObjective::trace_pairs(const std::vector<Direction>& directions) const {
  const auto n = static_cast<Index>(directions.size());
  SparseTangent tangent(*factor_, blas_);
  Matrix out(n, n);
  for (Index k = 0; k < n; ++k) {
    const Direction& d = directions[static_cast<std::size_t>(k)];
    const Index q = statistics_.factor(d.factor).n_random();
    Matrix dT = Matrix::Zero(q, q);
    dT(d.local_a, d.local_b) = dT(d.local_b, d.local_a) = d.scale;
    const std::vector<Matrix> sums = tangent.along(d.factor, dT);
    for (Index l = 0; l < n; ++l) {
      const Direction& e = directions[static_cast<std::size_t>(l)];
      out(k, l) = -along(e, sums[static_cast<std::size_t>(e.factor)]);
    }
  }
  return (0.5 * (out + out.transpose())).eval();
}

CovarianceDerivatives SparseObjective::covariance_derivatives(const Matrix& lambda,
                                                              int n_threads) const {
  const Index m = units_.p + 1;
  const std::lock_guard<std::mutex> lock(mutex_);
  Effects D(plan_, 0);
  const Evaluation at = eliminated(lambda, true, n_threads, D);
  const Vector m_unit = units_.m_scale.cwiseInverse();
  factor_->backward(D);
  const Effects J = times(std::move(D), m_unit.asDiagonal() * at.inverse_factor);
  const std::vector<Direction> directions = directions_of(members_, blocks_, units_.z_scale);
  Slopes slopes = slopes_of(J, directions, m, true);
  const std::vector<Matrix> sums = factor_->invert(n_threads);

  CovarianceDerivatives out;
  const auto n = static_cast<Index>(directions.size());
  out.traces.resize(n);
  for (Index k = 0; k < n; ++k) {
    const Direction& d = directions[static_cast<std::size_t>(k)];
    out.directions.emplace_back(d.a, d.b);
    out.traces[k] = along(d, sums[static_cast<std::size_t>(d.factor)]);
    for (Index l = 0; l < n; ++l) out.Q.push_back(slopes.of(k, l));
  }
  out.S = std::move(slopes.S);
  out.trace_pairs = trace_pairs(directions);
  return out;
}

}  // namespace blocklmm
