#include "moment_equations.hpp"

#include <Eigen/Cholesky>

#include "errors.hpp"

namespace blocklmm {
namespace {

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

}  // namespace

Vector observed_moments(const Statistics& statistics, const Standardization& units,
                        const Members& members) {
  const Index p = units.p;
  const Vector Xy = units.C.col(p).head(p), beta = factor_of_X(units).solve(Xy);
  Vector out = Vector::Zero(units.q + 1);
  out[0] = units.C(p, p) - Xy.dot(beta);
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const LevelRecords& records = statistics.factor(f);
    const auto& rows = members[static_cast<std::size_t>(f)];
    const Products products(records, units, rows);
    for (Index l = 0; l < records.n_levels(); ++l) {
      const double* record = records.record(l);
      std::size_t at = 0;
      for (const Index i : rows) {
        double residual = 0;  // z'(y - X beta)
        for (Index j = 0; j < p; ++j, ++at)
          residual -= record[products.position[at]] * products.unit[at] * beta[j];
        residual += record[products.position[at]] * products.unit[at];
        ++at;
        out[i + 1] += residual * residual;
      }
    }
  }
  return out;
}

MomentEquations moment_equations(const Statistics& statistics, const Standardization& units,
                                 const Members& members) {
  const Index p = units.p, q = units.q;
  const Matrix inverse = factor_of_X(units).matrixL().solve(Matrix::Identity(p, p));

  MomentEquations out{Matrix::Zero(q + 1, q + 1), observed_moments(statistics, units, members)};
  Matrix& expected = out.expected;
  expected(0, 0) = static_cast<double>(units.n - p);

  std::vector<Rows> projected;  // of a factor, level by level and column by column of Z, d'
  std::vector<Matrix> moments(static_cast<std::size_t>(q), Matrix::Zero(p, p));  // sum d d'
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const LevelRecords& records = statistics.factor(f);
    const Index n_own = records.n_random(), n_levels = records.n_levels();
    const auto& rows = members[static_cast<std::size_t>(f)];
    const Products products(records, units, rows);
    Rows all(n_levels * n_own, p);
    Matrix raw(p, n_own), d(p, n_own);
    for (Index l = 0; l < n_levels; ++l) {
      const double* record = records.record(l);
      for (Index a = 0; a < n_own; ++a)
        for (Index j = 0; j < p; ++j) {
          const auto at = static_cast<std::size_t>(a * (p + 1) + j);
          raw(j, a) = record[products.position[at]] * products.unit[at];
        }
      d.noalias() = inverse.lazyProduct(raw);
      for (Index a = 0; a < n_own; ++a) {
        const Index i = rows[static_cast<std::size_t>(a)];
        all.row(l * n_own + a) = d.col(a);
        moments[static_cast<std::size_t>(i)].noalias() += d.col(a) * d.col(a).transpose();
        for (Index b = 0; b < n_own; ++b) {
          const Index k = rows[static_cast<std::size_t>(b)];
          const double A = record[records.position(a, b)] / (units.z_scale[i] * units.z_scale[k]);
          if (a == b) expected(0, i + 1) += A - d.col(a).squaredNorm();
          expected(i + 1, k + 1) += A * A - 2 * A * d.col(a).dot(d.col(b));
        }
      }
    }
    projected.push_back(std::move(all));
  }
  for (const PairBlocks& pairs : statistics.pairs()) {
    const auto& u = members[static_cast<std::size_t>(pairs.major)];
    const auto& v = members[static_cast<std::size_t>(pairs.minor)];
    const Rows& major = projected[static_cast<std::size_t>(pairs.major)];
    const Rows& minor = projected[static_cast<std::size_t>(pairs.minor)];
    const auto n_u = static_cast<Index>(u.size()), n_v = static_cast<Index>(v.size());
    for (std::size_t i = 0; i + 1 < pairs.start.size(); ++i)
      for (Index at = pairs.start[i]; at < pairs.start[i + 1]; ++at) {
        const Index j = pairs.level[static_cast<std::size_t>(at)];
        const double* block = pairs.values.data() + at * pairs.block_size;
        for (Index a = 0; a < n_u; ++a)
          for (Index b = 0; b < n_v; ++b) {
            const Index k = u[static_cast<std::size_t>(a)], l = v[static_cast<std::size_t>(b)];
            const double B = block[a + n_u * b] / (units.z_scale[k] * units.z_scale[l]);
            const double both =
                major.row(static_cast<Index>(i) * n_u + a).dot(minor.row(j * n_v + b));
            expected(k + 1, l + 1) += B * B - 2 * B * both;
            expected(l + 1, k + 1) += B * B - 2 * B * both;
          }
      }
  }
  for (Index i = 0; i < q; ++i) {
    expected(i + 1, 0) = expected(0, i + 1);
    for (Index k = 0; k < q; ++k)
      expected(i + 1, k + 1) += moments[static_cast<std::size_t>(i)]
                                    .cwiseProduct(moments[static_cast<std::size_t>(k)])
                                    .sum();
  }
  return out;
}

}  // namespace blocklmm
