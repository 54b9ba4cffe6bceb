#pragma once

#include <cstdint>
#include <vector>

#include "columns.hpp"
#include "parallel.hpp"

// One pass over the rows. With U = [Z others y] the distinct columns of Z, X and y,
//
//     records:  Z_i'U_i for each group i, the upper trapezoid of [A_i D_i], and n_i
//     cross products:  C = U'U
//
// and no row is needed again. Columns are taken about a shift, near the mean of the first rows:
// cross products about it lose nothing to a large mean (Chan, Golub & LeVeque 1983), and the
// caller, who knows which columns span the intercept, undoes it exactly in the coefficients.
// The shift is a multiple of a power of two near the column's spread, so that integers and
// halves stay what they are and their sums stay exact.
// With weights w every row of U is multiplied by sqrt(w).
// A record's sums run in the order of the rows; C is summed over blocks of
// kBlockRows, units of kUnitBlocks blocks, and pairwise over units. None of it depends on the
// number of threads: each thread owns stripes of groups, and every n-th unit of C.

namespace blocklmm {

struct StatisticsPlan {
  std::vector<Recipe> recipes;
  std::vector<Index> columns;         // U: the recipe of each column, Z's first, y last
  std::vector<std::uint8_t> shifted;  // U: may the column be shifted?
  Index n_random = 0;                 // q: the first q columns of U are Z
  Index n_sources = 0;
  Index weight = -1;  // the recipe that makes the weights, or -1
};

// Rows that can't be used as they are: how many, and the first few.
class RowIssues {
 public:
  Index count = 0;
  std::vector<Index> first;
  void add(Index row) {
    if (row == last) return;
    last = row;
    if (++count <= kKept) first.push_back(row);
  }
  void append(const RowIssues& later);
  static constexpr Index kKept = 5;

 private:
  Index last = -1;
};

class Statistics {
 public:
  Statistics(StatisticsPlan plan, Index n_slots);

  // For a second pass over the same rows. Takes over the shift of the first, and replaces y by
  // y - U_others fit - Z_i b_i: `response_fit` has an entry for each column of U before y, and
  // `group_fits` a column b_i for each slot, or none. What is left of a response that one of them
  // explains almost exactly keeps the digits that y'y would lose; b_i stays with the statistics.
  void adopt(const Vector& shift, const Vector& response_fit, const Matrix& group_fits);

  // Adds n_rows rows. `labels` are integers; label - base is the row's group, and < 0 missing.
  void update(const std::vector<Source>& sources, const Source& labels, std::int64_t base,
              Index n_rows, int n_threads);

  // Closes the pass: groups without rows are removed. Returns the slots that remain, in order.
  std::vector<Index> finish();

  Index n_columns() const { return static_cast<Index>(plan_.columns.size()); }
  Index n_random() const { return plan_.n_random; }
  Index n_groups() const { return n_slots_; }
  Index n_rows_used() const { return n_rows_used_; }
  Index n_rows_seen() const { return n_rows_seen_; }
  double log_weights() const { return log_weights_; }
  const Vector& shift() const { return shift_; }
  Matrix cross_products() const;  // C
  // U'U and the column sums with all weights one, for variances over the rows.
  Matrix plain_cross_products() const;
  const Vector& sums() const { return sums_; }
  const Matrix& group_fits() const { return group_fits_; }

  Index record_size() const { return record_size_; }
  const double* record(Index group) const { return records_.data() + group * record_size_; }
  Index group_rows(Index group) const { return static_cast<Index>(record(group)[0]); }
  // All that later computations need, after finish(): for saving.
  struct State {
    Index n_columns, n_random, n_groups, n_rows_used, n_rows_seen;
    double log_weights;
    Vector shift, sums, cross, plain;
    std::vector<double> records;
    Matrix group_fits;
  };
  State state() const;
  explicit Statistics(const State& state);

  // Where z_a u_b stands in a record, for a < q and any column b.
  Index position(Index a, Index b) const;

  // By source; the last entry of `missing` is the group labels', that of `infinite` is for products
  // and differences of finite columns that overflow.
  std::vector<RowIssues> missing, infinite;
  RowIssues bad_weights;

 private:
  struct Unit;
  struct Owner;
  struct Scratch;
  Index packed_size() const;
  Matrix unpacked(const PairwiseSum<Vector>& sum) const;
  void choose_shift(const std::vector<Source>& sources, Index n_rows);
  void run_block(const std::vector<Source>& sources, const Source& labels, std::int64_t base,
                 Index first, Index n, const Owner& owner, Unit* unit, Scratch& scratch);

  StatisticsPlan plan_;
  Index n_slots_, record_size_ = 0, n_rows_used_ = 0, n_rows_seen_ = 0;
  double log_weights_ = 0;
  bool shift_known_ = false, finished_ = false;
  Vector shift_, response_fit_, sums_;
  Matrix group_fits_;
  std::vector<double> records_;
  PairwiseSum<Vector> cross_, plain_;
};

}  // namespace blocklmm
