#pragma once

#include <cstdint>
#include <vector>

#include "level_pairs.hpp"
#include "level_records.hpp"
#include "parallel.hpp"

// One pass over the rows. With U = [Z others y] the distinct columns of Z, X and y,
//
//     records:  for each grouping factor and each of its levels i, Z_i'[Z_i X_i y_i] and n_i
//     pairs:  for each two factors and each pair of levels i, j that meet in a row, Z_i'Z_j
//     cross products:  C = U'U
//
// and no row is needed again. Columns are taken about a shift, near the mean of the first rows:
// cross products about it lose nothing to a large mean (Chan, Golub & LeVeque 1983), and the
// caller, who knows which columns span the intercept, undoes it exactly in the coefficients.
// The shift is a multiple of a power of two near the column's spread, so that integers and
// halves stay what they are and their sums stay exact.
// With weights w every row of U is multiplied by sqrt(w).
// Sums of records and pairs run in the order of the rows; C is summed over blocks of
// kBlockRows, units of kUnitBlocks blocks, and pairwise over units. None of it depends on the
// number of threads: each thread owns stripes of levels, and every n-th unit of C.

namespace blocklmm {

// A grouping factor: which columns of U its records need, those of its Z first. With all of them
// as Z, a record holds all cross products of its level.
struct FactorPlan {
  std::vector<Index> columns;
  Index n_random = 0;
  Index n_slots = 0;
};

// A response as the statistics know it: Z'y by factor (q x levels), X'y of some columns, y'y.
struct Response {
  std::vector<Matrix> Zy;
  std::vector<Index> x_columns;
  Vector Xy;
  double yy = 0;
};

struct StatisticsPlan {
  std::vector<Recipe> recipes;
  std::vector<Index> columns;         // U: the recipe of each column, y last
  std::vector<std::uint8_t> shifted;  // U: may the column be shifted?
  std::vector<FactorPlan> factors;
  Index n_sources = 0;
  Index weight = -1;  // the recipe that makes the weights, or -1
  bool pairs = true;  // whether levels of two factors that meet are wanted
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
  explicit Statistics(StatisticsPlan plan);

  // For a second pass over the same rows. Takes over the shift of the first, and replaces y by
  // y - U_others fit - Z_i b_i: `response_fit` has an entry for each column of U before y, or none,
  // and `group_fits` for each factor a column b_i for each slot, or nothing. What is left of a
  // response that one of them explains almost exactly keeps the digits that y'y would lose; b_i
  // stays with the statistics.
  void adopt(const Vector& shift, const Vector& response_fit, std::vector<Matrix> group_fits);

  // A factor gets more slots, for levels that are met in the rows to come.
  void grow(Index factor, Index n_slots);

  // Adds n_rows rows. `labels` are integers, one column for each factor; label - base is the row's
  // level, and < 0 missing.
  void update(const std::vector<Source>& sources, const std::vector<Source>& labels,
              const std::vector<std::int64_t>& bases, Index n_rows, int n_threads);

  // Closes the pass: levels without rows are removed. Returns by factor the slots that remain, in
  // order.
  std::vector<std::vector<Index>> finish();

  // After finish(): another response in place of the one that was read; the products with columns
  // that are not among `x_columns` or those of Z are left as they were.
  void replace_response(const Response& response);
  // What was taken from that response, and its sums over the rows with all weights one.
  void replace_totals(double shift, double sum, double plain_yy);
  // After finish(): the same rows with other random effects, linear combinations Z K of those of a
  // factor. By factor that stays, its number and K. Z K are no columns of U: their number there is
  // kNoColumn.
  using Effects = std::vector<std::pair<Index, Matrix>>;
  static constexpr Index kNoColumn = -1;
  Statistics with_effects(const Effects& effects) const;

  Index n_columns() const { return static_cast<Index>(plan_.columns.size()); }
  Index n_factors() const { return static_cast<Index>(factors_.size()); }
  Index n_rows_used() const { return n_rows_used_; }
  Index n_rows_seen() const { return n_rows_seen_; }
  double log_weights() const { return log_weights_; }
  const Vector& shift() const { return shift_; }
  Matrix cross_products() const;  // C
  // U'U and the column sums with all weights one, for variances over the rows.
  Matrix plain_cross_products() const;
  const Vector& sums() const { return sums_; }

  // Bytes of the records.
  Index n_bytes() const;
  // Levels of the first factor; 0 where there is none.
  Index n_groups() const { return factors_.empty() ? 0 : factors_[0].n_levels(); }

  const LevelRecords& factor(Index f) const { return factors_[static_cast<std::size_t>(f)]; }
  // What the second pass took from y: b_i by columns, or nothing.
  const Matrix& group_fits(Index f) const { return group_fits_[static_cast<std::size_t>(f)]; }
  // One for each two factors, after finish().
  const std::vector<PairBlocks>& pairs() const { return pairs_; }

  // The statistics without a level of the only factor, from records of all cross products, of which
  // the first n_random columns are Z. Sums and log weights stay those of all rows.
  Statistics without(Index level, Index n_random) const;

  // After finish(), of statistics without group fits. See merged_statistics.cpp.
  //
  // The same rows in other columns, U M. By factor, M of its record's columns, those of Z among
  // themselves. `shift` is that of the new columns.
  Statistics in_columns(const Matrix& M, const std::vector<Matrix>& M_by_factor,
                        const Vector& shift) const;
  // Adds the statistics of other rows, in the same columns about the same shift. By factor, the
  // level here of each level there; those from n_levels on are new.
  void merge(const Statistics& other, const std::vector<std::vector<Index>>& levels);

  // After finish(): the same rows with some of the random effects of some factors. `own` and `others`
  // are places among the columns of the factor's records, own ones among those of Z.
  struct Selection {
    Index factor;
    std::vector<Index> own, others;
  };
  Statistics restricted(const std::vector<Selection>& selections) const;
  // After finish(), from records of all cross products of the only factor, without weights: the
  // statistics of the rows of all levels but one. U ones = 1.
  Statistics removed(Index level, const Vector& ones) const;

  // After finish(), of one factor without group fits. See split_statistics.cpp.
  //
  // The records of some levels, without what is of all rows: C, sums and weights are zero.
  Statistics of_levels(const std::vector<Index>& levels) const;
  // The same rows as if they were of one level.
  Statistics pooled() const;

  // All that later computations need, after finish(): for saving.
  struct FactorState {
    std::vector<Index> columns;
    Index n_random, n_levels;
    std::vector<double> records;
    Matrix group_fits;
  };
  struct State {
    Index n_columns, n_rows_used, n_rows_seen;
    double log_weights;
    Vector shift, sums, cross, plain;
    std::vector<FactorState> factors;
    std::vector<PairBlocks> pairs;
  };
  State state() const;
  State state_of_totals() const;  // without factors and pairs
  explicit Statistics(State state);

  // By source, then by factor; the last entry of `infinite` is for products and differences of
  // finite columns that overflow.
  std::vector<RowIssues> missing, infinite;
  RowIssues bad_weights;

 private:
  struct Unit;
  struct Scratch;
  Index packed_size() const;
  Response whole_response() const;
  static Index packed_place(Index i, Index j);
  Matrix unpacked(const Vector& packed) const;
  Vector cross_of_others(Index level) const;
  Vector packed(const Matrix& C) const;
  bool has_group_fits() const;
  void choose_shift(const std::vector<Source>& sources, Index n_rows);
  void run_block(const std::vector<Source>& sources, const std::vector<Source>& labels,
                 const std::vector<std::int64_t>& bases, Index first, Index n, const Owner& owner,
                 Unit* unit, Scratch& scratch);
  void add_levels(Index n_rows, const Owner& owner, Scratch& scratch);

  StatisticsPlan plan_;
  Index n_rows_used_ = 0, n_rows_seen_ = 0;
  double log_weights_ = 0;
  bool shift_known_ = false, finished_ = false;
  Vector shift_, response_fit_, sums_;
  std::vector<LevelRecords> factors_;
  std::vector<Matrix> group_fits_;
  std::vector<LevelPairs> open_pairs_;
  std::vector<PairBlocks> pairs_;
  PairwiseSum<Vector> cross_, plain_;
};

}  // namespace blocklmm
