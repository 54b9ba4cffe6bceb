#include "errors.hpp"
#include "statistics.hpp"

// Statistics taken apart by levels: what is of each level in parts that lie in several places, and
// what is of all rows by itself. Added again, with merge(), they are what they were.

namespace blocklmm {

Index Statistics::n_bytes() const {
  Index n = 0;
  for (const LevelRecords& records : factors_) n += records.n_levels() * records.size();
  return n * static_cast<Index>(sizeof(double));
}

Statistics Statistics::of_levels(const std::vector<Index>& levels) const {
  require(finished_ && factors_.size() == 1 && !has_group_fits(),
          "closed statistics of one factor, without group fits");
  const LevelRecords& all = factors_[0];
  State out{n_columns(),
            0,
            0,
            0.0,
            shift_,
            Vector::Zero(n_columns()),
            Vector::Zero(packed_size()),
            Vector::Zero(packed_size()),
            {{all.columns(), all.n_random(), static_cast<Index>(levels.size()), {}, {}}},
            {}};
  std::vector<double>& records = out.factors[0].records;
  records.reserve(levels.size() * static_cast<std::size_t>(all.size()));
  for (const Index level : levels) {
    require(level >= 0 && level < all.n_levels(), "a level's number");
    const double* record = all.record(level);
    records.insert(records.end(), record, record + all.size());
    out.n_rows_used += all.n_rows(level);
  }
  out.n_rows_seen = out.n_rows_used;
  return Statistics(std::move(out));
}

Statistics Statistics::pooled() const {
  require(finished_ && factors_.size() == 1 && !has_group_fits(),
          "closed statistics of one factor, without group fits");
  const LevelRecords& all = factors_[0];
  const Index size = all.size(), n_levels = all.n_levels();
  PairwiseSum<Vector> sum;
  for (Index level = 0; level < n_levels; ++level)
    sum.add(Eigen::Map<const Vector>(all.record(level), size));
  const Index n_pooled = n_levels > 0 ? 1 : 0;
  const Vector total = sum.total(Vector::Zero(size)), zero = Vector::Zero(packed_size());
  return Statistics(State{n_columns(),
                          n_rows_used_,
                          n_rows_seen_,
                          log_weights_,
                          shift_,
                          sums_,
                          cross_.total(zero),
                          plain_.total(zero),
                          {{all.columns(),
                            all.n_random(),
                            n_pooled,
                            {total.data(), total.data() + n_pooled * size},
                            {}}},
                          {}});
}

}  // namespace blocklmm
