#include "group_factors.hpp"

#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "errors.hpp"

namespace blocklmm {
namespace {

double unit_of(double sum_of_squares, Index n) {
  const double rms = std::sqrt(sum_of_squares / static_cast<double>(std::max<Index>(n, 1)));
  return std::isnormal(rms) ? rms : 1.0;
}

}  // namespace

Members all_members(const Statistics& statistics) {
  require(statistics.n_factors() <= 1, "one factor");
  if (statistics.n_factors() == 0) return {};
  std::vector<Index> rows(static_cast<std::size_t>(statistics.factor(0).n_random()));
  std::iota(rows.begin(), rows.end(), 0);
  return {rows};
}

Standardization::Standardization(const Statistics& statistics, std::vector<Index> x_columns,
                                 const Members& members)
    : n(statistics.n_rows_used()),
      p(static_cast<Index>(x_columns.size())),
      m_columns(std::move(x_columns)) {
  for (const Index j : m_columns)
    require(j >= 0 && j < statistics.n_columns() - 1, "a column of X");
  m_columns.push_back(statistics.n_columns() - 1);
  take_response(statistics);
  require(static_cast<Index>(members.size()) == statistics.n_factors(), "columns of each factor");
  for (const auto& rows : members) q += static_cast<Index>(rows.size());
  z_scale.setOnes(q);
  for (std::size_t f = 0; f < members.size(); ++f) {
    const LevelRecords& records = statistics.factor(static_cast<Index>(f));
    const std::vector<Index>& rows = members[f];
    require(static_cast<Index>(rows.size()) == records.n_random(), "columns of each factor");
    std::vector<Index> places;
    for (Index a = 0; a < records.n_random(); ++a) places.push_back(records.position(a, a));
    Vector sums = Vector::Zero(records.n_random());
    for (Index l = 0; l < records.n_levels(); ++l)
      for (Index a = 0; a < sums.size(); ++a)
        sums[a] += records.record(l)[places[static_cast<std::size_t>(a)]];
    for (std::size_t a = 0; a < rows.size(); ++a) {
      require(rows[a] >= 0 && rows[a] < q, "a row of lambda");
      z_scale[rows[a]] = unit_of(sums[static_cast<Index>(a)], n);
    }
  }
}

void Standardization::take_response(const Statistics& statistics) {
  C = Matrix(statistics.cross_products())(m_columns, m_columns);
  m_scale.resize(p + 1);
  for (Index j = 0; j <= p; ++j) m_scale[j] = unit_of(C(j, j), n);
  C = (m_scale.cwiseInverse().asDiagonal() * C * m_scale.cwiseInverse().asDiagonal()).eval();
}

Standardization::Standardization(Index n_rows, std::vector<Index> columns, Vector scale_of_z,
                                 Vector scale_of_m, Matrix cross_products)
    : n(n_rows),
      p(static_cast<Index>(columns.size()) - 1),
      q(scale_of_z.size()),
      m_columns(std::move(columns)),
      z_scale(std::move(scale_of_z)),
      m_scale(std::move(scale_of_m)),
      C(std::move(cross_products)) {
  require(p >= 0 && m_scale.size() == p + 1 && C.rows() == p + 1 && C.cols() == p + 1,
          "a unit of each column of M, and their cross products");
}

GroupFactors::GroupFactors(const Statistics& statistics, const Standardization& units)
    : R(Matrix::Zero(units.q, units.q)),
      Y(Matrix::Zero(units.q, units.p + 1)),
      explained(Vector::Zero(units.q)),
      records_(statistics.factor(0)),
      group_fits_(statistics.group_fits(0)),
      units_(units) {
  for (Index j = 0; j < units.q; ++j)
    for (Index i = 0; i < units.q; ++i) a_.push_back(records_.position(i, j));
  for (const Index column : units.m_columns)
    for (Index i = 0; i < units.q; ++i) d_.push_back(records_.position_of_column(i, column));
}

void GroupFactors::compute(Index group) {
  const double* record = records_.record(group);
  const Index q = units_.q, m = units_.p + 1;
  // each sum of n_i products may be off by n_i roundings
  const double rounding = (8 + record[0]) * std::numeric_limits<double>::epsilon();
  for (Index j = 0; j < q; ++j) {
    for (Index i = 0; i <= j; ++i) {
      double sum =
          record[a_[static_cast<std::size_t>(i + j * q)]] / (units_.z_scale[i] * units_.z_scale[j]);
      const double total = sum;
      for (Index k = 0; k < i; ++k) sum -= R(k, i) * R(k, j);
      if (i < j)
        R(i, j) = R(i, i) > 0 ? sum / R(i, i) : 0.0;
      else
        R(j, j) = sum > rounding * total ? std::sqrt(sum) : 0.0;
    }
  }
  for (Index j = 0; j < m; ++j)
    for (Index i = 0; i < q; ++i) {
      double sum =
          record[d_[static_cast<std::size_t>(i + j * q)]] / (units_.z_scale[i] * units_.m_scale[j]);
      for (Index k = 0; k < i; ++k) sum -= R(k, i) * Y(k, j);
      Y(i, j) = R(i, i) > 0 ? sum / R(i, i) : 0.0;
    }
  if (group_fits_.size())
    explained = R * units_.z_scale.cwiseProduct(group_fits_.col(group)) / units_.m_scale[m - 1];
}

Vector GroupFactors::own_fit() const {
  const Index q = units_.q, y = units_.p;
  Vector fit = Vector::Zero(q);
  for (Index i = q - 1; i >= 0; --i)
    if (R(i, i) > 0)
      fit[i] = (Y(i, y) - R.row(i).tail(q - 1 - i).dot(fit.tail(q - 1 - i))) / R(i, i);
  return units_.m_scale[y] * fit.cwiseQuotient(units_.z_scale);
}

}  // namespace blocklmm
