#include "errors.hpp"
#include "statistics.hpp"

namespace blocklmm {

Statistics Statistics::without(Index level, Index n_random) const {
  require(n_factors() == 1 && level >= 0 && level < n_groups(), "a level of the only factor");
  const LevelRecords& all = factor(0);
  const std::vector<Index>& columns = all.columns();
  const auto u = static_cast<Index>(columns.size());
  require(all.n_random() == u && n_random >= 1 && n_random < u, "records of all cross products");
  State left = state();
  left.n_rows_used -= all.n_rows(level);
  for (Index a = 0; a < u; ++a)
    for (Index b = a; b < u; ++b) {
      const Index i = columns[static_cast<std::size_t>(a)];
      const Index j = columns[static_cast<std::size_t>(b)];
      left.cross[packed_place(std::max(i, j), std::min(i, j))] -=
          all.record(level)[all.position(a, b)];
    }
  const LevelRecords wanted(columns, n_random, 0);
  FactorState& records = left.factors[0];
  const Matrix& fits = group_fits(0);
  records = {columns, n_random, n_groups() - 1, {}, Matrix()};
  if (fits.size()) records.group_fits.resize(n_random, n_groups() - 1);
  for (Index i = 0; i < n_groups(); ++i) {
    if (i == level) continue;
    // rows of the trapezoid stand one after the other, those of Z first
    const double* record = all.record(i);
    records.records.insert(records.records.end(), record, record + wanted.size());
    if (fits.size()) records.group_fits.col(i - (i > level)) = fits.col(i).head(n_random);
  }
  return Statistics(std::move(left));
}

}  // namespace blocklmm
