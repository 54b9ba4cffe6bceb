#pragma once

#include <vector>

#include "growing_array.hpp"
#include "row_sums.hpp"
#include "types.hpp"

namespace blocklmm {

// The cross products of one grouping factor, level by level: n_i and the upper trapezoid of
// Z_i'[Z_i others], where `columns` says which columns of U these are, Z's first.
class LevelRecords {
 public:
  LevelRecords(std::vector<Index> columns, Index n_random, Index n_slots);

  Index n_random() const { return q_; }
  Index n_levels() const { return n_levels_; }
  Index size() const { return size_; }  // of a record
  const std::vector<Index>& columns() const { return columns_; }

  const double* record(Index level) const { return records_.data() + level * size_; }
  double* record(Index level) { return records_.data() + level * size_; }
  Index n_rows(Index level) const { return static_cast<Index>(record(level)[0]); }
  // Where z_a times the b-th of `columns` stands in a record.
  Index position(Index a, Index b) const;
  // Where z_a times column b of U stands.
  Index position_of_column(Index a, Index b) const;

  // `block` holds `columns` side by side.
  void add(const Block& block, const OwnRows& own) {
    add_(block, own, q_, static_cast<Index>(columns_.size()), size_, records_.data());
  }
  // Slots without rows are added at the end.
  void grow(Index n_slots);
  // Adds the records of the same columns of other rows, whose level i is level levels[i] here.
  void merge(const LevelRecords& other, const std::vector<Index>& levels);
  // Removes levels without rows; returns the slots that remain, in order.
  std::vector<Index> finish();

  std::vector<double> values() const {
    return {records_.data(), records_.data() + records_.size()};
  }
  void restore(const std::vector<double>& values);

 private:
  std::vector<Index> columns_;
  Index q_, n_levels_, size_;
  AddRecords add_;
  GrowingArray records_;
};

}  // namespace blocklmm
