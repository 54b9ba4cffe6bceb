#include "errors.hpp"
#include "statistics.hpp"

namespace blocklmm {

Statistics Statistics::without(Index level, Index n_random) const {
  require(n_factors() == 1 && level >= 0 && level < n_groups(), "a level of the only factor");
  const LevelRecords& all = factor(0);
  const std::vector<Index>& columns = all.columns();
  const auto u = static_cast<Index>(columns.size());
  require(all.n_random() == u && n_random >= 1 && n_random < u, "records of all cross products");
  State left = state_of_totals();
  left.n_rows_used -= all.n_rows(level);
  for (Index a = 0; a < u; ++a)
    for (Index b = a; b < u; ++b) {
      const Index i = columns[static_cast<std::size_t>(a)];
      const Index j = columns[static_cast<std::size_t>(b)];
      left.cross[packed_place(std::max(i, j), std::min(i, j))] -=
          all.record(level)[all.position(a, b)];
    }
  const LevelRecords wanted(columns, n_random, 0);
  const Matrix& fits = group_fits(0);
  FactorState records{columns, n_random, n_groups() - 1, {}, Matrix()};
  if (fits.size()) records.group_fits.resize(n_random, n_groups() - 1);
  for (Index i = 0; i < n_groups(); ++i) {
    if (i == level) continue;
    // rows of the trapezoid stand one after the other, those of Z first
    const double* record = all.record(i);
    records.records.insert(records.records.end(), record, record + wanted.size());
    if (fits.size()) records.group_fits.col(i - (i > level)) = fits.col(i).head(n_random);
  }
  left.factors.push_back(std::move(records));
  return Statistics(std::move(left));
}

Statistics Statistics::removed(Index level, const Vector& ones) const {
  require(n_factors() == 1 && level >= 0 && level < n_groups(), "a level of the only factor");
  require(plan_.weight < 0 && !has_group_fits() && ones.size() == n_columns(),
          "statistics without weights or group fits");
  const LevelRecords& all = factor(0);
  const std::vector<Index>& columns = all.columns();
  const auto u = static_cast<Index>(columns.size());
  require(all.n_random() == u, "records of all cross products");
  Matrix own = Matrix::Zero(n_columns(), n_columns());
  for (Index a = 0; a < u; ++a)
    for (Index b = 0; b < u; ++b)
      own(columns[static_cast<std::size_t>(a)], columns[static_cast<std::size_t>(b)]) =
          all.record(level)[all.position(a, b)];
  State left = state();
  left.n_rows_used -= all.n_rows(level);
  left.n_rows_seen -= all.n_rows(level);
  left.cross -= packed(own);
  left.sums -= own * ones;
  FactorState& records = left.factors[0];
  records.n_levels -= 1;
  const auto begin = records.records.begin() + level * all.size();
  records.records.erase(begin, begin + all.size());
  return Statistics(std::move(left));
}

}  // namespace blocklmm
