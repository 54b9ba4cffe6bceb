#include "moment_equations.hpp"

#include <Eigen/Cholesky>

#include "errors.hpp"

namespace blocklmm {
namespace {

using Rows = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Of one factor, level by level and column by column of Z: d' and z'r.
struct Projected {
  Rows d;
  Vector residual;
};

}  // namespace

MomentEquations moment_equations(const Statistics& statistics, const Standardization& units,
                                 const std::vector<std::vector<Index>>& members) {
  const Index p = units.p, q = units.q;
  const Eigen::LLT<Matrix> factor(units.C.topLeftCorner(p, p));
  if (factor.info() != Eigen::Success) throw NotPositiveDefinite(0);
  const Vector half = factor.matrixL().solve(units.C.col(p).head(p));

  MomentEquations out{Matrix::Zero(q + 1, q + 1), Vector::Zero(q + 1)};
  Matrix& expected = out.expected;
  expected(0, 0) = static_cast<double>(units.n - p);
  out.observed[0] = units.C(p, p) - half.squaredNorm();

  std::vector<Projected> projected;
  std::vector<Matrix> moments(static_cast<std::size_t>(q), Matrix::Zero(p, p));  // sum d d'
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const LevelRecords& records = statistics.factor(f);
    const Index n_own = records.n_random(), n_levels = records.n_levels();
    const auto& rows = members[static_cast<std::size_t>(f)];
    std::vector<Index> positions;  // of Z'M in a record
    for (Index a = 0; a < n_own; ++a)
      for (const Index column : units.m_columns)
        positions.push_back(records.position_of_column(a, column));
    Projected own{Rows(n_levels * n_own, p), Vector(n_levels * n_own)};
    Matrix d(p, n_own);
    for (Index l = 0; l < n_levels; ++l) {
      const double* record = records.record(l);
      for (Index a = 0; a < n_own; ++a) {
        const double unit = units.z_scale[rows[static_cast<std::size_t>(a)]];
        const Index* of_M = positions.data() + a * (p + 1);
        for (Index j = 0; j < p; ++j) d(j, a) = record[of_M[j]] / (unit * units.m_scale[j]);
        own.residual[l * n_own + a] = record[of_M[p]] / (unit * units.m_scale[p]);
      }
      d = factor.matrixL().solve(d).eval();
      for (Index a = 0; a < n_own; ++a) {
        const Index i = rows[static_cast<std::size_t>(a)], at = l * n_own + a;
        own.d.row(at) = d.col(a);
        own.residual[at] -= d.col(a).dot(half);
        moments[static_cast<std::size_t>(i)].noalias() += d.col(a) * d.col(a).transpose();
        out.observed[i + 1] += own.residual[at] * own.residual[at];
        for (Index b = 0; b < n_own; ++b) {
          const Index k = rows[static_cast<std::size_t>(b)];
          const double A = record[records.position(a, b)] / (units.z_scale[i] * units.z_scale[k]);
          if (a == b) expected(0, i + 1) += A - d.col(a).squaredNorm();
          expected(i + 1, k + 1) += A * A - 2 * A * d.col(a).dot(d.col(b));
        }
      }
    }
    projected.push_back(std::move(own));
  }
  for (const PairBlocks& pairs : statistics.pairs()) {
    const auto& u = members[static_cast<std::size_t>(pairs.major)];
    const auto& v = members[static_cast<std::size_t>(pairs.minor)];
    const Projected& major = projected[static_cast<std::size_t>(pairs.major)];
    const Projected& minor = projected[static_cast<std::size_t>(pairs.minor)];
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
                major.d.row(static_cast<Index>(i) * n_u + a).dot(minor.d.row(j * n_v + b));
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
