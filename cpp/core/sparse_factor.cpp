#include "sparse_factor.hpp"

#include <algorithm>
#include <cmath>

#include "decompositions.hpp"
#include "errors.hpp"
#include "singular_vectors.hpp"

namespace blocklmm {
namespace {

constexpr double kRegular = 1e-3;  // singular values of lambda in units of the columns

// log of a product of numbers from one upwards
class LogProduct {
 public:
  void multiply(double x) {
    if (x > 1e100) {
      sum_ += std::log(x);
      return;
    }
    product_ *= x;
    if (product_ > 1e150) {
      sum_ += std::log(product_);
      product_ = 1;
    }
  }
  double value() const { return sum_ + std::log(product_); }

 private:
  double sum_ = 0, product_ = 1;
};

}  // namespace

SparseFactor::SparseFactor(const Statistics& statistics, const Elimination& plan, const Blas& blas)
    : statistics_(statistics),
      plan_(plan),
      priors_(static_cast<std::size_t>(statistics.n_factors())),
      leaf_W_(static_cast<std::size_t>(plan.n_leaves * plan.leaf_width * plan.leaf_width)),
      A_(plan, blas),
      Q_(plan, blas, false) {
  for (const Elimination::Node& node : plan.nodes) {
    node_W_at_.push_back(node_W_.size());
    node_W_.resize(node_W_.size() + static_cast<std::size_t>(node.width * node.width));
  }
}

Level SparseFactor::node_level(std::size_t k) const {
  const std::int32_t* rows = plan_.node_rows.data() + plan_.node_start[k];
  const std::int32_t* last = plan_.node_rows.data() + plan_.node_start[k + 1];
  return {last - rows, std::lower_bound(rows, last, plan_.n_middle) - rows,
          rows,        A_.square(k),
          A_.rows(k),  node_W_.data() + node_W_at_[k]};
}

bool SparseFactor::is_at_end(Index factor) const {
  const auto& variables = plan_.variable[static_cast<std::size_t>(factor)];
  return std::any_of(variables.begin(), variables.end(),
                     [&](std::int32_t v) { return v >= plan_.n_middle; });
}

// Z'Z of the later variables, as the statistics have it.
void SparseFactor::fill() {
  A_.set_zero();
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    if (f == plan_.leaf) continue;
    const LevelRecords& records = statistics_.factor(f);
    const Index q = records.n_random();
    for (Index l = 0; l < records.n_levels(); ++l) {
      const std::int32_t v =
          plan_.variable[static_cast<std::size_t>(f)][static_cast<std::size_t>(l)];
      const double* record = records.record(l);
      for (Index a = 0; a < q; ++a)
        for (Index b = 0; b < q; ++b) {
          const double value = record[records.position(a, b)];
          if (v >= plan_.n_middle)
            A_.dense().at(v - plan_.n_middle + a, v - plan_.n_middle + b) = value;
          else
            A_.square(static_cast<std::size_t>(
                plan_.node_of[static_cast<std::size_t>(v)]))[a * q + b] = value;
        }
    }
  }
  for (const PairBlocks& pairs : statistics_.pairs()) {
    if (pairs.major == plan_.leaf || pairs.minor == plan_.leaf) continue;
    const auto& major = plan_.variable[static_cast<std::size_t>(pairs.major)];
    const auto& minor = plan_.variable[static_cast<std::size_t>(pairs.minor)];
    const Index n_u = statistics_.factor(pairs.major).n_random();
    const Index n_v = statistics_.factor(pairs.minor).n_random();
    for (std::size_t i = 0; i + 1 < pairs.start.size(); ++i)
      for (Index at = pairs.start[i]; at < pairs.start[i + 1]; ++at)
        A_.add_block(major[i],
                     minor[static_cast<std::size_t>(pairs.level[static_cast<std::size_t>(at)])],
                     pairs.values.data() + at * pairs.block_size, n_u, n_v);
  }
}

double SparseFactor::factor(const std::vector<Matrix>& lambdas, const std::vector<Vector>& units,
                            int n_threads) {
  bool keep = false;
  for (std::size_t f = 0; f < priors_.size(); ++f) {
    Prior& prior = priors_[f];
    prior.lambda = lambdas[f];
    prior.T.noalias() = prior.lambda * prior.lambda.transpose();
    const Matrix scaled = units[f].asDiagonal() * prior.lambda;
    const Vector sizes = singular_values(scaled);
    prior.is_regular = sizes.minCoeff() > kRegular * std::max(1.0, 1e-2 * sizes.maxCoeff());
    if (prior.is_regular) {
      prior.inverse_lambda = inverse(prior.lambda);
      prior.inverse_T.noalias() = prior.inverse_lambda.transpose() * prior.inverse_lambda;
    } else {
      keep = keep || is_at_end(static_cast<Index>(f));
    }
  }
  stopwatch_.start();
  if (A_.dense().size() != plan_.n_dense()) A_.swap_dense(Q_);  // back from the last inverse
  fill();
  LogProduct determinant;
  const Prior& prior = priors_[static_cast<std::size_t>(plan_.leaf)];
  over_leaves([&](auto& eliminator, Index i, const Level& level) {
    determinant.multiply(
        eliminator.pivot(level.A, prior, leaf_W_.data() + i * eliminator.q * eliminator.q));
    eliminator.update_later(level, A_);
  });
  stopwatch_.lap("assembly");
  over_nodes(false, [&](auto& eliminator, std::size_t k, const Level& level) {
    determinant.multiply(eliminator.pivot(level.A, prior_of(k), node_W_.data() + node_W_at_[k]));
    eliminator.update_later(level, A_);
  });
  stopwatch_.lap("sparse");
  double logdet = determinant.value();
  unscaled_.reset();
  if (plan_.n_dense() == 0) return logdet;
  TiledMatrix& dense = A_.dense();
  if (keep) unscaled_ = std::make_unique<TiledMatrix>(dense);
  multiply_dense(dense, true);
  for (Index v = 0; v < plan_.n_dense(); ++v) dense.at(v, v) += 1;
  stopwatch_.lap("assembly");
  dense.cholesky(n_threads);
  stopwatch_.lap("dense");
  for (Index v = 0; v < plan_.n_dense(); ++v) logdet += 2 * std::log(dense.at(v, v));
  return logdet;
}

// The dense end becomes Lambda' X Lambda (transposed) or Lambda X Lambda'.
void SparseFactor::multiply_dense(TiledMatrix& dense, bool transposed) const {
  const Index n = plan_.n_dense();
  bool is_diagonal = true;
  for (std::size_t f = 0; f < priors_.size(); ++f)
    if (is_at_end(static_cast<Index>(f))) is_diagonal &= priors_[f].lambda.isDiagonal(0.0);
  if (is_diagonal) {
    Vector scale(n);
    over_dense_levels([&](Index f, Index, Index v) {
      const Matrix& lambda = priors_[static_cast<std::size_t>(f)].lambda;
      scale.segment(v, lambda.rows()) = lambda.diagonal();
    });
    dense.scale(scale);
    return;
  }
  struct Placed {
    Index v;
    Matrix factor;
  };
  std::vector<Placed> levels;
  over_dense_levels([&](Index f, Index, Index v) {
    const Matrix& lambda = priors_[static_cast<std::size_t>(f)].lambda;
    levels.push_back({v, transposed ? Matrix(lambda.transpose()) : lambda});
  });
  Matrix block, product;
  for (const Placed& a : levels)
    for (const Placed& b : levels) {
      if (a.v < b.v) continue;
      const Index n_a = a.factor.rows(), n_b = b.factor.rows();
      block.resize(n_a, n_b);
      for (Index j = 0; j < n_b; ++j)
        for (Index i = 0; i < n_a; ++i) block(i, j) = dense.at(a.v + i, b.v + j);
      product.noalias() = a.factor * block * b.factor.transpose();
      for (Index j = 0; j < n_b; ++j)
        for (Index i = a.v == b.v ? j : 0; i < n_a; ++i) dense.at(a.v + i, b.v + j) = product(i, j);
    }
}

// The dense rows of D as a panel, or Lambda'D.
Matrix SparseFactor::dense_rows(const Effects& D, bool with_lambda) const {
  Matrix panel(plan_.n_dense(), D.m);
  for (Index v = 0; v < plan_.n_dense(); ++v)
    panel.row(v) = Eigen::Map<const Eigen::RowVectorXd>(D.of_rest(plan_.n_middle + v), D.m);
  if (with_lambda)
    over_dense_levels([&](Index f, Index, Index v) {
      const Matrix& lambda = priors_[static_cast<std::size_t>(f)].lambda;
      panel.middleRows(v, lambda.rows()) =
          (lambda.transpose() * panel.middleRows(v, lambda.rows())).eval();
    });
  return panel;
}

Matrix SparseFactor::forward(Effects& D) const {
  stopwatch_.start();
  Matrix gram = forward_before_end(D);
  if (plan_.n_dense() > 0) {
    D.end = dense_rows(D, true);
    A_.dense().solve_lower(D.end);
    gram.noalias() += D.end.transpose() * D.end;
  }
  stopwatch_.lap("right-hand sides");
  return gram;
}

Matrix SparseFactor::forward_before_end(Effects& D) const {
  const Index m = D.m, q = plan_.leaf_width;
  Matrix gram = Matrix::Zero(m, m);  // its upper triangle is filled
  over_leaves([&](auto& eliminator, Index i, const Level& level) {
    eliminator.forward(level, D.of_leaf(i * q), m, D.rest.data(), gram.data());
  });
  over_nodes(false, [&](auto& eliminator, std::size_t k, const Level& level) {
    eliminator.forward(level, D.of_rest(plan_.nodes[k].first), m, D.rest.data(), gram.data());
  });
  gram = gram.selfadjointView<Eigen::Upper>();
  return gram;
}

Effects SparseFactor::backward(Effects& D) const {
  stopwatch_.start();
  const Index m = D.m, q = plan_.leaf_width;
  Effects modes(plan_, 0);
  modes.m = m;
  modes.rest.assign(static_cast<std::size_t>(plan_.n_rest * m), 0.0);
  if (plan_.n_dense() > 0) {
    Matrix U = D.end;
    A_.dense().solve_lower_transposed(U);
    Matrix b(U.rows(), m);
    over_dense_levels([&](Index f, Index, Index v) {
      const Matrix& lambda = priors_[static_cast<std::size_t>(f)].lambda;
      b.middleRows(v, lambda.rows()) = lambda * U.middleRows(v, lambda.rows());
    });
    const Matrix taken = unscaled_ ? unscaled_->times(b) : Matrix();
    over_dense_levels([&](Index f, Index, Index v) {
      const Prior& prior = priors_[static_cast<std::size_t>(f)];
      const Index w = prior.lambda.rows();
      Matrix values(w, m);
      if (prior.is_regular)
        values = prior.inverse_lambda.transpose() * U.middleRows(v, w);
      else
        for (Index a = 0; a < w; ++a)
          values.row(a) =
              Eigen::Map<const Eigen::RowVectorXd>(D.of_rest(plan_.n_middle + v + a), m) -
              taken.row(v + a);
      for (Index a = 0; a < w; ++a) {
        Eigen::Map<Eigen::RowVectorXd>(D.of_rest(plan_.n_middle + v + a), m) = values.row(a);
        Eigen::Map<Eigen::RowVectorXd>(modes.of_rest(plan_.n_middle + v + a), m) = b.row(v + a);
      }
    });
  }
  over_nodes(true, [&](auto& eliminator, std::size_t k, const Level& level) {
    const std::int32_t first = plan_.nodes[k].first;
    eliminator.backward(level, prior_of(k), m, D.of_rest(first), modes.rest.data(),
                        modes.of_rest(first));
  });
  const Prior& prior = priors_[static_cast<std::size_t>(plan_.leaf)];
  over_leaves([&](auto& eliminator, Index i, const Level& level) {
    eliminator.backward(level, prior, m, D.of_leaf(i * q), modes.rest.data(), nullptr);
  });
  stopwatch_.lap("right-hand sides");
  return modes;
}

// sum A~ over the levels of a factor at the dense end whose lambda is (nearly) singular:
// A~_ll = A_ll - |L^-1 Lambda'A_:l|^2, for some columns at a time.
Matrix SparseFactor::irregular_sum(Index factor) const {
  const Index n = plan_.n_dense(), q = statistics_.factor(factor).n_random();
  Matrix sum = Matrix::Zero(q, q);
  std::vector<Index> firsts;
  over_dense_levels([&](Index f, Index, Index v) {
    if (f == factor) firsts.push_back(v);
  });
  const std::size_t at_once = static_cast<std::size_t>(std::max<Index>(1, 256 / q));
  for (std::size_t begin = 0; begin < firsts.size(); begin += at_once) {
    const std::size_t end = std::min(firsts.size(), begin + at_once);
    Matrix panel(n, static_cast<Index>(end - begin) * q);
    for (std::size_t k = begin; k < end; ++k)
      for (Index a = 0; a < q; ++a) {
        const Index j = firsts[k] + a, column = static_cast<Index>(k - begin) * q + a;
        for (Index i = 0; i < n; ++i) panel(i, column) = unscaled_->at(i, j);
      }
    for (std::size_t k = begin; k < end; ++k)
      sum += panel.block(firsts[k], static_cast<Index>(k - begin) * q, q, q);
    over_dense_levels([&](Index f, Index, Index v) {
      const Matrix& lambda = priors_[static_cast<std::size_t>(f)].lambda;
      panel.middleRows(v, lambda.rows()) =
          (lambda.transpose() * panel.middleRows(v, lambda.rows())).eval();
    });
    A_.dense().solve_lower(panel);
    for (std::size_t k = begin; k < end; ++k) {
      const auto U = panel.middleCols(static_cast<Index>(k - begin) * q, q);
      sum.noalias() -= U.transpose() * U;
    }
  }
  return sum;
}

std::vector<Matrix> SparseFactor::invert(int n_threads) {
  stopwatch_.start();
  std::vector<Matrix> sums;
  for (const Prior& prior : priors_)
    sums.push_back(Matrix::Zero(prior.lambda.rows(), prior.lambda.cols()));
  if (plan_.n_dense() > 0) {
    std::vector<Index> regular;
    for (Index f = 0; f < statistics_.n_factors(); ++f) {
      if (f == plan_.leaf || !is_at_end(f)) continue;
      if (priors_[static_cast<std::size_t>(f)].is_regular)
        regular.push_back(f);
      else
        sums[static_cast<std::size_t>(f)] += irregular_sum(f);
    }
    Q_.swap_dense(A_);
    TiledMatrix& dense = Q_.dense();
    dense.invert(n_threads);
    stopwatch_.lap("dense inverse");
    for (const Index f : regular) {
      const Matrix& inverse = priors_[static_cast<std::size_t>(f)].inverse_lambda;
      const Index q = inverse.rows();
      Matrix left = Matrix::Zero(q, q);
      over_dense_levels([&](Index g, Index, Index v) {
        if (g != f) return;
        for (Index a = 0; a < q; ++a)
          for (Index b = 0; b < q; ++b) left(a, b) += (a == b ? 1.0 : 0.0) - dense.at(v + a, v + b);
      });
      sums[static_cast<std::size_t>(f)] += inverse.transpose() * left * inverse;
    }
    multiply_dense(dense, false);
  }
  over_nodes(true, [&](auto& eliminator, std::size_t k, const Level& level) {
    const Prior& prior = prior_of(k);
    const auto P = eliminator.P(level, prior);
    const auto S = eliminator.template quadratic<true>(level, P, Q_);
    const double* V = eliminator.V(level);
    const Index q = eliminator.q;
    eliminator.add(eliminator.reduced(level, P) - S,
                   sums[static_cast<std::size_t>(plan_.nodes[k].factor)].data());
    std::fill_n(Q_.square(k), q * q, 0.0);
    eliminator.add(eliminator.variance(level, prior, S), Q_.square(k));
    double* to = Q_.rows(k);
    for (Index r = 0; r < level.n_rows; ++r)
      for (Index a = 0; a < q; ++a) {
        double sum = 0;
        for (Index b = 0; b < q; ++b) sum += V[r * q + b] * prior.T(b, a);
        to[r * q + a] = -sum;
      }
  });
  const Prior& prior = priors_[static_cast<std::size_t>(plan_.leaf)];
  over_leaves([&](auto& eliminator, Index, const Level& level) {
    const auto P = eliminator.P(level, prior);
    eliminator.add(
        eliminator.reduced(level, P) - eliminator.template quadratic<false>(level, P, Q_),
        sums[static_cast<std::size_t>(plan_.leaf)].data());
  });
  for (Matrix& sum : sums) sum = (0.5 * (sum + sum.transpose())).eval();
  stopwatch_.lap("selected inverse");
  return sums;
}

void SparseFactor::variances(Index factor, double* out) const {
  const Index q = statistics_.factor(factor).n_random();
  if (factor == plan_.leaf) {
    const Prior& prior = priors_[static_cast<std::size_t>(factor)];
    over_leaves([&](auto& eliminator, Index i, const Level& level) {
      const auto P = eliminator.P(level, prior);
      const auto S = eliminator.template quadratic<false>(level, P, Q_);
      std::fill_n(out + i * q * q, q * q, 0.0);
      eliminator.add(eliminator.variance(level, prior, S), out + i * q * q);
    });
    return;
  }
  const auto& variables = plan_.variable[static_cast<std::size_t>(factor)];
  for (std::size_t l = 0; l < variables.size(); ++l) {
    Eigen::Map<Matrix> to(out + static_cast<Index>(l) * q * q, q, q);
    const std::int32_t v = variables[l];
    if (v < plan_.n_middle) {
      const auto node = static_cast<std::size_t>(plan_.node_of[static_cast<std::size_t>(v)]);
      to = Eigen::Map<const Matrix>(Q_.square(node), q, q);
    } else {
      for (Index a = 0; a < q; ++a)
        for (Index b = 0; b < q; ++b)
          to(a, b) = Q_.dense().at(v - plan_.n_middle + a, v - plan_.n_middle + b);
    }
  }
}

const double* SparseFactor::values_of(const Effects& effects, Index factor, Index level) const {
  if (factor == plan_.leaf) return effects.of_leaf(level * plan_.leaf_width);
  return effects.of_rest(
      plan_.variable[static_cast<std::size_t>(factor)][static_cast<std::size_t>(level)]);
}

double* SparseFactor::values_of(Effects& effects, Index factor, Index level) const {
  return const_cast<double*>(values_of(static_cast<const Effects&>(effects), factor, level));
}

Effects SparseFactor::right_hand_sides(const std::vector<Index>& columns) const {
  Effects out(plan_, static_cast<Index>(columns.size()));
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const LevelRecords& records = statistics_.factor(f);
    const Index q = records.n_random();
    std::vector<Index> positions;
    for (Index a = 0; a < q; ++a)
      for (const Index column : columns) positions.push_back(records.position_of_column(a, column));
    for (Index l = 0; l < records.n_levels(); ++l) {
      const double* record = records.record(l);
      double* to = values_of(out, f, l);
      for (const Index position : positions) *to++ = record[position];
    }
  }
  return out;
}

Effects SparseFactor::products(const Effects& c) const {
  const Index m = c.m;
  Effects out(plan_, m);
  const auto add = [&](const double* from, double weight, double* to) {
    for (Index k = 0; k < m; ++k) to[k] += weight * from[k];
  };
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const LevelRecords& records = statistics_.factor(f);
    const Index q = records.n_random();
    for (Index l = 0; l < records.n_levels(); ++l) {
      const double* from = values_of(c, f, l);
      double* to = values_of(out, f, l);
      for (Index a = 0; a < q; ++a)
        for (Index b = 0; b < q; ++b)
          add(from + b * m, records.record(l)[records.position(a, b)], to + a * m);
    }
  }
  for (const PairBlocks& pairs : statistics_.pairs()) {
    const Index q = statistics_.factor(pairs.major).n_random();
    const Index s = statistics_.factor(pairs.minor).n_random();
    for (std::size_t i = 0; i + 1 < pairs.start.size(); ++i) {
      const double* from_major = values_of(c, pairs.major, static_cast<Index>(i));
      double* to_major = values_of(out, pairs.major, static_cast<Index>(i));
      for (Index at = pairs.start[i]; at < pairs.start[i + 1]; ++at) {
        const Index j = pairs.level[static_cast<std::size_t>(at)];
        const double* from_minor = values_of(c, pairs.minor, j);
        double* to_minor = values_of(out, pairs.minor, j);
        const double* block = pairs.values.data() + at * pairs.block_size;
        for (Index b = 0; b < s; ++b)
          for (Index a = 0; a < q; ++a) {
            add(from_minor + b * m, block[a + q * b], to_major + a * m);
            add(from_major + a * m, block[a + q * b], to_minor + b * m);
          }
      }
    }
  }
  return out;
}

}  // namespace blocklmm
