#include "moment_equations.hpp"

#include <Eigen/Cholesky>
#include <algorithm>

#include "errors.hpp"

namespace blocklmm {
namespace {

constexpr Index kFew = 3;  // columns of a term whose covariances are looked for

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Eigen::LLT<Matrix> factor_of_X(const Standardization& units) {
  Eigen::LLT<Matrix> factor(units.C.topLeftCorner(units.p, units.p));
  if (factor.info() != Eigen::Success) throw NotPositiveDefinite(0);
  return factor;
}

// Where each column of Z (of a factor's own) times each of M stands in a record; and its unit.
struct Products {
  Products(const LevelRecords& records, const Standardization& units,
           const std::vector<Index>& rows) {
    for (Index a = 0; a < records.n_random(); ++a)
      for (std::size_t j = 0; j < units.m_columns.size(); ++j) {
        position.push_back(records.position_of_column(a, units.m_columns[j]));
        unit.push_back(1 / (units.z_scale[rows[static_cast<std::size_t>(a)]] *
                            units.m_scale[static_cast<Index>(j)]));
      }
  }
  std::vector<Index> position;
  std::vector<double> unit;
};

// A pair of one factor, by the factor's own columns.
struct OwnPair {
  Index number, a, b;  // of its equation, columns a >= b
  double weight() const { return a == b ? 1 : 2; }
};

std::vector<OwnPair> own_pairs(const std::vector<Index>& rows, const std::vector<Entry>& pairs) {
  std::vector<OwnPair> out;
  for (std::size_t k = 0; k < pairs.size(); ++k) {
    const auto a = std::find(rows.begin(), rows.end(), pairs[k].first);
    const auto b = std::find(rows.begin(), rows.end(), pairs[k].second);
    if (a != rows.end() && b != rows.end())
      out.push_back({static_cast<Index>(k) + 1, a - rows.begin(), b - rows.begin()});
  }
  return out;
}

// tr(dT_k W dT_l W'), from w(i, j, k, l) = the sum of W_ij W_kl.
template <class SumOfProducts>
double contracted(const OwnPair& k, const OwnPair& l, const SumOfProducts& w) {
  const double half = w(k.a, l.a, k.b, l.b);
  return k.weight() * (l.a == l.b ? half : half + w(k.a, l.b, k.b, l.a));
}

}  // namespace

Vector observed_moments(const Statistics& statistics, const Standardization& units,
                        const Members& members, const std::vector<Entry>& pairs) {
  const Index p = units.p;
  const Vector Xy = units.C.col(p).head(p), beta = factor_of_X(units).solve(Xy);
  Vector out = Vector::Zero(static_cast<Index>(pairs.size()) + 1);
  out[0] = units.C(p, p) - Xy.dot(beta);
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const LevelRecords& records = statistics.factor(f);
    const auto& rows = members[static_cast<std::size_t>(f)];
    const Products products(records, units, rows);
    const std::vector<OwnPair> own = own_pairs(rows, pairs);
    std::vector<double> weight = products.unit;  // of a record's entries in z'(y - X beta)
    for (std::size_t at = 0; at < weight.size(); ++at) {
      const Index j = static_cast<Index>(at) % (p + 1);
      if (j < p) weight[at] *= -beta[j];
    }
    Vector residual(records.n_random());  // Z'(y - X beta)
    for (Index l = 0; l < records.n_levels(); ++l) {
      const double* record = records.record(l);
      std::size_t at = 0;
      for (Index a = 0; a < residual.size(); ++a) {
        double sum = 0;
        for (Index j = 0; j <= p; ++j, ++at) sum += record[products.position[at]] * weight[at];
        residual[a] = sum;
      }
      for (const OwnPair& k : own) out[k.number] += residual[k.a] * residual[k.b];
    }
    for (const OwnPair& k : own) out[k.number] *= k.weight();
  }
  return out;
}

MomentEquations moment_equations(const Statistics& statistics, const Standardization& units,
                                 const Members& members, const Blocks& blocks) {
  require(blocks.q() == units.q, "blocks along lambda");
  const Index p = units.p;
  const Matrix inverse = factor_of_X(units).matrixL().solve(Matrix::Identity(p, p));

  MomentEquations out;
  for (const TermBlock& term : blocks)
    for (Index b = term.start; b < term.start + term.size; ++b)
      for (Index a = b; a < term.start + (term.size > kFew ? b - term.start + 1 : term.size); ++a)
        out.pairs.emplace_back(a, b);
  out.observed = observed_moments(statistics, units, members, out.pairs);
  Matrix& expected = out.expected;  // its lower triangle
  expected = Matrix::Zero(out.observed.size(), out.observed.size());
  expected(0, 0) = static_cast<double>(units.n - p);

  std::vector<Rows> projected;  // of a factor, level by level and column by column of Z, d'
  std::vector<Matrix> moments(out.pairs.size());  // sum d_a d_b'
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const LevelRecords& records = statistics.factor(f);
    const Index n_own = records.n_random(), n_levels = records.n_levels();
    const auto& rows = members[static_cast<std::size_t>(f)];
    const Products products(records, units, rows);
    const std::vector<OwnPair> own = own_pairs(rows, out.pairs);
    for (const OwnPair& k : own) moments[static_cast<std::size_t>(k.number - 1)].setZero(p, p);
    const bool is_paired = statistics.n_factors() > 1;
    Rows all(is_paired ? n_levels * n_own : 0, p);
    Matrix raw(p, n_own), d(p, n_own), A(n_own, n_own), dd(n_own, n_own);
    const auto within = [&](Index i, Index j, Index k, Index l) {
      return A(i, j) * A(k, l) - A(i, j) * dd(k, l) - dd(i, j) * A(k, l);
    };
    for (Index l = 0; l < n_levels; ++l) {
      const double* record = records.record(l);
      for (Index a = 0; a < n_own; ++a)
        for (Index j = 0; j < p; ++j) {
          const auto at = static_cast<std::size_t>(a * (p + 1) + j);
          raw(j, a) = record[products.position[at]] * products.unit[at];
        }
      d.noalias() = inverse.lazyProduct(raw);
      dd.noalias() = d.transpose().lazyProduct(d);
      for (Index a = 0; a < n_own; ++a)
        for (Index b = 0; b < n_own; ++b)
          A(a, b) =
              record[records.position(a, b)] / (units.z_scale[rows[static_cast<std::size_t>(a)]] *
                                                units.z_scale[rows[static_cast<std::size_t>(b)]]);
      if (is_paired) all.middleRows(l * n_own, n_own) = d.transpose();
      for (std::size_t i = 0; i < own.size(); ++i) {
        const OwnPair& k = own[i];
        moments[static_cast<std::size_t>(k.number - 1)].noalias() +=
            d.col(k.a).lazyProduct(d.col(k.b).transpose());
        expected(k.number, 0) += k.weight() * (A(k.a, k.b) - dd(k.a, k.b));
        for (std::size_t j = 0; j <= i; ++j)
          expected(k.number, own[j].number) += contracted(k, own[j], within);
      }
    }
    projected.push_back(std::move(all));
  }
  for (const PairBlocks& blocks_of : statistics.pairs()) {
    const auto& u = members[static_cast<std::size_t>(blocks_of.major)];
    const auto& v = members[static_cast<std::size_t>(blocks_of.minor)];
    const std::vector<OwnPair> own_u = own_pairs(u, out.pairs), own_v = own_pairs(v, out.pairs);
    const Rows& major = projected[static_cast<std::size_t>(blocks_of.major)];
    const Rows& minor = projected[static_cast<std::size_t>(blocks_of.minor)];
    const auto n_u = static_cast<Index>(u.size()), n_v = static_cast<Index>(v.size());
    Matrix B(n_u, n_v), dd(n_u, n_v);
    const auto between = [&](Index i, Index j, Index k, Index l) {
      return B(i, j) * B(k, l) - B(i, j) * dd(k, l) - dd(i, j) * B(k, l);
    };
    for (std::size_t i = 0; i + 1 < blocks_of.start.size(); ++i)
      for (Index at = blocks_of.start[i]; at < blocks_of.start[i + 1]; ++at) {
        const Index j = blocks_of.level[static_cast<std::size_t>(at)];
        const double* block = blocks_of.values.data() + at * blocks_of.block_size;
        for (Index a = 0; a < n_u; ++a)
          for (Index b = 0; b < n_v; ++b)
            B(a, b) = block[a + n_u * b] / (units.z_scale[u[static_cast<std::size_t>(a)]] *
                                            units.z_scale[v[static_cast<std::size_t>(b)]]);
        dd.noalias() = major.middleRows(static_cast<Index>(i) * n_u, n_u)
                           .lazyProduct(minor.middleRows(j * n_v, n_v).transpose());
        for (const OwnPair& k : own_u)
          for (const OwnPair& l : own_v)
            expected(std::max(k.number, l.number), std::min(k.number, l.number)) +=
                contracted(k, l, between);
      }
  }
  // sum d_a'd_c d_b'd_d over all pairs of levels = <sum d_a d_b', sum d_c d_d'>
  const auto weight = [&](std::size_t k) {
    return out.pairs[k].first == out.pairs[k].second ? 1.0 : 2.0;
  };
  for (std::size_t k = 0; k < out.pairs.size(); ++k)
    for (std::size_t l = 0; l <= k; ++l) {
      const Matrix &M_k = moments[k], &M_l = moments[l];
      const double half = M_k.cwiseProduct(M_l).sum();
      const double other = weight(l) > 1 ? M_k.cwiseProduct(M_l.transpose()).sum() : 0;
      expected(static_cast<Index>(k) + 1, static_cast<Index>(l) + 1) += weight(k) * (half + other);
    }
  expected.triangularView<Eigen::StrictlyUpper>() = expected.transpose();
  return out;
}

}  // namespace blocklmm
