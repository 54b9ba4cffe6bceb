#include "level_records.hpp"

#include <algorithm>
#include <utility>

#include "errors.hpp"

namespace blocklmm {

LevelRecords::LevelRecords(std::vector<Index> columns, Index n_random, Index n_slots)
    : columns_(std::move(columns)), q_(n_random), n_levels_(n_slots) {
  const auto u = static_cast<Index>(columns_.size());
  require(q_ >= 1 && q_ <= u && n_slots >= 0, "sizes of the plan");
  size_ = 1 + q_ * u - q_ * (q_ - 1) / 2;
  add_ = pick_add_records(q_, u);
  records_.resize(static_cast<std::size_t>(n_slots * size_));
}

Index LevelRecords::position(Index a, Index b) const {
  if (b < a) std::swap(a, b);
  return 1 + a * static_cast<Index>(columns_.size()) - a * (a - 1) / 2 + (b - a);
}

Index LevelRecords::position_of_column(Index a, Index b) const {
  const auto at = std::find(columns_.begin(), columns_.end(), b);
  require(at != columns_.end(), "a column that the records of a factor lack");
  return position(a, static_cast<Index>(at - columns_.begin()));
}

void LevelRecords::grow(Index n_slots) {
  require(n_slots >= n_levels_, "slots are not taken away");
  n_levels_ = n_slots;
  records_.resize(static_cast<std::size_t>(n_slots * size_));
}

void LevelRecords::merge(const LevelRecords& other, const std::vector<Index>& levels) {
  require(other.columns_ == columns_ && other.q_ == q_, "records of the same columns");
  require(static_cast<Index>(levels.size()) == other.n_levels_, "a level for each level");
  for (std::size_t i = 0; i < levels.size(); ++i) {
    require(levels[i] >= 0 && levels[i] < n_levels_, "a level's number");
    const double* from = other.record(static_cast<Index>(i));
    double* to = record(levels[i]);
    for (Index k = 0; k < size_; ++k) to[k] += from[k];
  }
}

std::vector<Index> LevelRecords::finish() {
  std::vector<Index> kept;
  kept.reserve(static_cast<std::size_t>(n_levels_));
  for (Index i = 0; i < n_levels_; ++i) {
    if (n_rows(i) == 0) continue;
    const auto to = static_cast<Index>(kept.size());
    if (to != i) std::copy_n(record(i), size_, records_.data() + to * size_);
    kept.push_back(i);
  }
  n_levels_ = static_cast<Index>(kept.size());
  records_.resize(static_cast<std::size_t>(n_levels_ * size_));
  records_.shrink();
  return kept;
}

void LevelRecords::restore(const std::vector<double>& values) {
  require(static_cast<Index>(values.size()) == n_levels_ * size_,
          "a saved state whose sizes disagree");
  std::copy(values.begin(), values.end(), records_.data());
}

}  // namespace blocklmm
