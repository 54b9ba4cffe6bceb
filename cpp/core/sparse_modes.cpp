#include <limits>
#include <numeric>

#include "errors.hpp"
#include "sparse_objective.hpp"

namespace blocklmm {

void SparseObjective::modes(const Matrix& lambda, const Matrix& inverse_factor,
                            const std::vector<Matrix>& bases, int n_threads,
                            const std::vector<ModesResult>& to) const {
  const Index p = units_.p, m = p + 1;
  require(bases.size() == members_.size() && to.size() == members_.size(), "bases by factor");
  const std::lock_guard<std::mutex> lock(mutex_);
  double logdet = 0;
  SparseFactor& factor = factored(lambda, n_threads, logdet);
  Effects D = factor.right_hand_sides(units_.m_columns);
  const Effects D_own = D;
  factor.forward(D);
  factor.backward(D);
  bool needs_variances = false;
  for (const ModesResult& result : to) needs_variances |= result.conditional || result.prediction;
  if (needs_variances) factor.invert(n_threads);

  const Vector m_unit = units_.m_scale.cwiseInverse();
  const Vector e = inverse_factor.col(p) / inverse_factor(p, p);
  const Vector m_e = m_unit.cwiseProduct(e);
  const Matrix N_X = inverse_factor.topLeftCorner(p, p);
  const std::vector<Matrix> lambdas = by_factor(lambda);
  using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const auto at = static_cast<std::size_t>(f);
    const LevelRecords& records = statistics_.factor(f);
    const Index q = records.n_random(), n_levels = records.n_levels();
    const Vector z_unit = units_.z_scale(members_[at]);
    require(bases[at].rows() == q && bases[at].cols() == q, "a basis of each factor");
    const Matrix left = bases[at] * z_unit.asDiagonal();  // takes effects to the user's columns
    const Matrix T = lambdas[at] * lambdas[at].transpose(), left_T = left * T;
    const ModesResult& result = to[at];
    std::vector<double> variances;
    if (result.conditional || result.prediction) {
      variances.resize(static_cast<std::size_t>(n_levels * q * q));
      factor.variances(f, variances.data());
    }
    Matrix data(q, m), spread(q, p), half(q, q), variance(q, q), A(q, q);
    for (Index l = 0; l < n_levels; ++l) {
      const Eigen::Map<const Rows> D_tilde(factor.values_of(D, f, l), q, m);
      data.noalias() = left_T * D_tilde;
      data *= m_unit.asDiagonal();
      if (result.modes) Eigen::Map<Vector>(result.modes + l * q, q).noalias() = data * e;
      if (result.own) {
        const Eigen::Map<const Rows> own(factor.values_of(D_own, f, l), q, m);
        for (Index a = 0; a < q; ++a)
          for (Index b = 0; b < q; ++b) A(a, b) = records.record(l)[records.position(a, b)];
        A = (z_unit.cwiseInverse().asDiagonal() * A * z_unit.cwiseInverse().asDiagonal()).eval();
        const Eigen::LDLT<Matrix> factor_of_A(A);
        Eigen::Map<Vector> out(result.own + l * q, q);
        const Vector pivots = factor_of_A.vectorD();
        if (pivots.minCoeff() > 1e-12 * pivots.maxCoeff())
          out.noalias() =
              bases[at] * Vector(factor_of_A.solve(Vector((own * m_e).cwiseQuotient(z_unit))));
        else
          out.setConstant(std::numeric_limits<double>::quiet_NaN());
      }
      if (result.cross || result.prediction) spread.noalias() = data.leftCols(p) * N_X;
      if (result.cross) Eigen::Map<Matrix>(result.cross + l * q * p, q, p) = spread;
      if (variances.empty()) continue;
      half.noalias() = left * Eigen::Map<const Matrix>(variances.data() + l * q * q, q, q);
      variance.noalias() = half * left.transpose();
      if (result.conditional) Eigen::Map<Matrix>(result.conditional + l * q * q, q, q) = variance;
      if (!result.prediction) continue;
      variance.noalias() += spread * spread.transpose();
      Eigen::Map<Matrix>(result.prediction + l * q * q, q, q) = variance;
    }
  }
}

// Q e_j of a level j is the modes for a response with Z'y = e_j: some levels of g at a time.
void SparseObjective::covariances(const Matrix& lambda, Index f, Index g, const Index* i,
                                  const Index* j, Index n, int n_threads, double* to) const {
  require(f >= 0 && f < statistics_.n_factors() && g >= 0 && g < statistics_.n_factors() && f != g,
          "two factors");
  const bool swap = g == plan_.leaf;  // solve for levels of the factor that is not the leaves'
  if (swap) {
    std::swap(f, g);
    std::swap(i, j);
  }
  const Index q = statistics_.factor(f).n_random(), s = statistics_.factor(g).n_random();
  for (Index k = 0; k < n; ++k)
    require(i[k] >= 0 && i[k] < statistics_.factor(f).n_levels() && j[k] >= 0 &&
                j[k] < statistics_.factor(g).n_levels(),
            "a level's number");
  const std::lock_guard<std::mutex> lock(mutex_);
  double logdet = 0;
  SparseFactor& factor = factored(lambda, n_threads, logdet);
  const std::vector<Matrix> lambdas = by_factor(lambda);
  const Matrix& own = lambdas[static_cast<std::size_t>(f)];
  const Matrix T = own * own.transpose();
  const Vector z_f = units_.z_scale(members_[static_cast<std::size_t>(f)]);
  const Vector z_g = units_.z_scale(members_[static_cast<std::size_t>(g)]);

  std::vector<Index> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](Index a, Index b) { return j[a] < j[b]; });
  const Index at_once = std::max<Index>(1, 64 / s);
  using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  for (std::size_t begin = 0; begin < order.size();) {
    std::vector<Index> levels;
    std::size_t end = begin;
    for (; end < order.size(); ++end) {
      const Index level = j[order[end]];
      if (!levels.empty() && levels.back() == level) continue;
      if (static_cast<Index>(levels.size()) == at_once) break;
      levels.push_back(level);
    }
    const Index m = static_cast<Index>(levels.size()) * s;
    Effects unit(plan_, m);
    for (std::size_t k = 0; k < levels.size(); ++k)
      for (Index b = 0; b < s; ++b)
        factor.values_of(unit, g, levels[k])[b * m + static_cast<Index>(k) * s + b] = 1;
    factor.forward(unit);
    const Effects later = factor.backward(unit);
    std::size_t k = 0;
    for (std::size_t at = begin; at < end; ++at) {
      const Index row = order[at];
      while (levels[k] != j[row]) ++k;
      const bool is_leaf = f == plan_.leaf;
      const Eigen::Map<const Rows> values(factor.values_of(is_leaf ? unit : later, f, i[row]), q,
                                          m);
      const Matrix columns = values.middleCols(static_cast<Index>(k) * s, s);
      const Matrix block =
          z_f.asDiagonal() * (is_leaf ? Matrix(T * columns) : columns) * z_g.asDiagonal();
      Eigen::Map<Matrix> out(to + row * q * s, swap ? s : q, swap ? q : s);
      out = swap ? Matrix(block.transpose()) : block;
    }
    begin = end;
  }
}

}  // namespace blocklmm
