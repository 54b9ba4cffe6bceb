#include "response_draws.hpp"

#include <cmath>

#include "errors.hpp"

namespace blocklmm {
namespace {

constexpr double kNothing = 1e-10;  // what may be left, by rounding, of a column that others span

// L with L L' = M, by columns with pivots: n x rank.
Matrix semidefinite_root(Matrix M, const Vector& total, const Blas& blas) {
  const auto n = static_cast<int>(M.rows());
  if (n == 0) return M;
  const Vector unit = total.cwiseMax(1e-300).cwiseSqrt().cwiseInverse();
  M = (unit.asDiagonal() * M * unit.asDiagonal()).eval();
  std::vector<int> order(static_cast<std::size_t>(n));
  std::vector<double> work(static_cast<std::size_t>(2 * n));
  char lower = 'L';
  int side = n, rank = 0, info = 0;
  double tolerance = kNothing;
  blas.pstrf(&lower, &side, M.data(), &side, order.data(), &rank, &tolerance, work.data(), &info);
  require(info >= 0, "a semidefinite factor");
  Matrix L = Matrix::Zero(n, rank);
  for (Index j = 0; j < rank; ++j)
    for (Index i = j; i < n; ++i) {
      const Index row = order[static_cast<std::size_t>(i)] - 1;
      L(row, j) = M(i, j) / unit[row];
    }
  return L;
}

}  // namespace

ResponseDraws::ResponseDraws(const Statistics& statistics, const Elimination& plan,
                             std::vector<Index> x_columns, const Blas& blas)
    : statistics_(statistics),
      plan_(plan),
      x_columns_(std::move(x_columns)),
      blas_(blas),
      factor_(statistics, plan, blas),
      D_X_(plan, 0) {
  rank_of_z_ = factor_.factor_flat(kNothing);
  D_X_ = factor_.right_hand_sides(x_columns_);
  Matrix left = statistics.cross_products()(x_columns_, x_columns_);
  const Vector total = left.diagonal();
  left -= factor_.forward_before_end(D_X_);
  if (plan.n_dense() > 0) {
    factor_end();
    rank_of_z_ += end_root_.cols();
    left -= end_X_.transpose() * end_X_;
  }
  within_ = semidefinite_root(left, total, blas).transpose();
  df_ = std::max<Index>(0, statistics.n_rows_used() - rank_of_z_ - within_.rows());
}

void ResponseDraws::factor_end() {
  const Index n = plan_.n_dense();
  const TiledMatrix& tiles = factor_.left_at_end();
  Matrix A(n, n);
  for (Index j = 0; j < n; ++j)
    for (Index i = 0; i < n; ++i) A(i, j) = tiles.at(i, j);
  Vector total(n);
  factor_.over_dense_levels([&](Index f, Index l, Index v) {
    const LevelRecords& records = statistics_.factor(f);
    for (Index a = 0; a < records.n_random(); ++a)
      total[v + a] = records.record(l)[records.position(a, a)];
  });
  end_root_ = semidefinite_root(A, total, blas_);
  // D_X lies in the span of A, so that least squares is exact
  Matrix D(n, D_X_.m);
  for (Index v = 0; v < n; ++v)
    D.row(v) = Eigen::Map<const Eigen::RowVectorXd>(D_X_.of_rest(plan_.n_middle + v), D_X_.m);
  const Matrix gram = end_root_.transpose() * end_root_;
  end_X_ = gram.llt().solve(end_root_.transpose() * D);
}

Response ResponseDraws::draw(const std::vector<Matrix>& lambdas, double sigma,
                             Random& random) const {
  const Index p = static_cast<Index>(x_columns_.size());
  Effects b(plan_, 1);
  Vector Xy = Vector::Zero(p);
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const Matrix& lambda = lambdas[static_cast<std::size_t>(f)];
    const LevelRecords& records = statistics_.factor(f);
    const Index q = records.n_random();
    require(lambda.rows() == q && lambda.cols() == q, "a lambda of each factor");
    if (lambda.isZero(0.0)) continue;
    std::vector<Index> positions;
    for (const Index column : x_columns_)
      for (Index a = 0; a < q; ++a) positions.push_back(records.position_of_column(a, column));
    Vector z(q), effect(q);
    for (Index l = 0; l < records.n_levels(); ++l) {
      for (Index a = 0; a < q; ++a) z[a] = random.normal();
      effect.noalias() = lambda * z;
      Eigen::Map<Vector>(factor_.values_of(b, f, l), q) = effect;
      const double* record = records.record(l);
      for (Index j = 0; j < p; ++j)
        for (Index a = 0; a < q; ++a)
          Xy[j] += record[positions[static_cast<std::size_t>(j * q + a)]] * effect[a];
    }
  }
  Effects Zy = factor_.products(b);
  double yy = 0;
  const auto add_squares = [&](const AlignedVector& left, const AlignedVector& right) {
    for (std::size_t k = 0; k < left.size(); ++k) yy += left[k] * right[k];
  };
  add_squares(b.leaf, Zy.leaf);
  add_squares(b.rest, Zy.rest);

  Effects Ze(plan_, 1);
  Vector Xe = Vector::Zero(p);
  double ee = 0;
  add_errors(random, Ze, Xe, ee);
  for (std::size_t k = 0; k < b.leaf.size(); ++k) yy += 2 * b.leaf[k] * Ze.leaf[k];
  for (std::size_t k = 0; k < b.rest.size(); ++k) yy += 2 * b.rest[k] * Ze.rest[k];

  Response out;
  out.x_columns = x_columns_;
  out.Xy = sigma * (Xy + Xe);
  out.yy = sigma * sigma * (yy + ee);
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const LevelRecords& records = statistics_.factor(f);
    const Index q = records.n_random();
    Matrix values(q, records.n_levels());
    for (Index l = 0; l < records.n_levels(); ++l)
      values.col(l) = sigma * (Eigen::Map<const Vector>(factor_.values_of(Zy, f, l), q) +
                               Eigen::Map<const Vector>(factor_.values_of(Ze, f, l), q));
    out.Zy.push_back(std::move(values));
  }
  return out;
}

void ResponseDraws::add_errors(Random& random, Effects& Ze, Vector& Xe, double& ee) const {
  const Index p = Xe.size();
  std::vector<double> w;
  const auto add = [&](auto& eliminator, const Level& level, const double* D, double* own) {
    const Index q = eliminator.q;
    w.assign(static_cast<std::size_t>(q), 0.0);
    for (Index c = 0; c < q; ++c) {
      if (level.W[c + c * q] == 0) continue;
      const double z = random.normal();
      ee += z * z;
      for (Index a = 0; a < q; ++a) w[static_cast<std::size_t>(a)] += level.W[a + c * q] * z;
    }
    for (Index a = 0; a < q; ++a) {
      for (Index b = 0; b < q; ++b) own[a] += level.A[a + b * q] * w[static_cast<std::size_t>(b)];
      for (Index j = 0; j < p; ++j) Xe[j] += D[a * p + j] * w[static_cast<std::size_t>(a)];
    }
    for (Index r = 0; r < level.n_rows; ++r) {
      double sum = 0;
      for (Index a = 0; a < q; ++a) sum += level.B[r * q + a] * w[static_cast<std::size_t>(a)];
      Ze.rest[static_cast<std::size_t>(level.rows[r])] += sum;
    }
  };
  const Index q = plan_.leaf_width;
  factor_.over_leaves([&](auto& eliminator, Index i, const Level& level) {
    add(eliminator, level, D_X_.of_leaf(i * q), Ze.of_leaf(i * q));
  });
  factor_.over_nodes(false, [&](auto& eliminator, std::size_t k, const Level& level) {
    const std::int32_t first = plan_.nodes[k].first;
    add(eliminator, level, D_X_.of_rest(first), Ze.of_rest(first));
  });
  const auto draw = [&](Index n) {
    Vector z(n);
    for (Index k = 0; k < n; ++k) z[k] = random.normal();
    ee += z.squaredNorm();
    return z;
  };
  if (plan_.n_dense() > 0) {
    const Vector z = draw(end_root_.cols());
    const Vector e = end_root_ * z;
    for (Index v = 0; v < e.size(); ++v) *Ze.of_rest(plan_.n_middle + v) += e[v];
    Xe += end_X_.transpose() * z;
  }
  Xe += within_.transpose() * draw(within_.rows());
  ee += random.chi_square(static_cast<double>(df_));
}

}  // namespace blocklmm
