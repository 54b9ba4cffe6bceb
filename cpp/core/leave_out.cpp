#include <algorithm>

#include "errors.hpp"
#include "statistics.hpp"

namespace blocklmm {

// C of all levels but one, summed anew: a level whose values are far larger than the others' would
// leave its roundings in a difference.
Vector Statistics::cross_of_others(Index level) const {
  constexpr Index kTogether = 64;
  const LevelRecords& all = factor(0);
  const std::vector<Index>& columns = all.columns();
  const auto u = static_cast<Index>(columns.size());
  require(all.n_random() == u, "records of all cross products");
  PairwiseSum<Vector> sums;
  const Index size = all.size() - 1;  // n_i comes first
  for (Index first = 0; first < n_groups(); first += kTogether) {
    Vector part = Vector::Zero(size);
    for (Index i = first; i < std::min(n_groups(), first + kTogether); ++i)
      if (i != level) part += Eigen::Map<const Vector>(all.record(i) + 1, size);
    sums.add(std::move(part));
  }
  const Vector total = sums.total(Vector::Zero(size));
  Vector cross = cross_.total(Vector::Zero(packed_size()));
  for (Index a = 0; a < u; ++a)
    for (Index b = a; b < u; ++b)
      cross[packed_place(columns[static_cast<std::size_t>(a)],
                         columns[static_cast<std::size_t>(b)])] = total[all.position(a, b) - 1];
  return cross;
}

Statistics Statistics::without(Index level, Index n_random) const {
  require(n_factors() == 1 && level >= 0 && level < n_groups(), "a level of the only factor");
  const LevelRecords& all = factor(0);
  const std::vector<Index>& columns = all.columns();
  require(n_random >= 1 && n_random < static_cast<Index>(columns.size()), "columns of Z");
  State left = state_of_totals();
  left.n_rows_used -= all.n_rows(level);
  left.cross = cross_of_others(level);
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
  State left = state();
  left.n_rows_used -= all.n_rows(level);
  left.n_rows_seen -= all.n_rows(level);
  left.cross = cross_of_others(level);
  left.sums = unpacked(left.cross) * ones;
  FactorState& records = left.factors[0];
  records.n_levels -= 1;
  const auto begin = records.records.begin() + level * all.size();
  records.records.erase(begin, begin + all.size());
  return Statistics(std::move(left));
}

}  // namespace blocklmm
