#pragma once

#include <vector>

#include "elimination.hpp"
#include "tiled_matrix.hpp"

namespace blocklmm {

// One level to eliminate, and the later variables that it meets: n_rows of them, ascending, the
// first n_sparse of the middle. A: q x q; B: q numbers for each row; W: q x q, see
// level_elimination.hpp.
struct Level {
  Index n_rows, n_sparse;
  const std::int32_t* rows;
  const double *A, *B, *W;
};

// A symmetric matrix of the later variables, on the pattern of the factor: for each middle level
// its own square block and q numbers for each row of its column, and all of the dense end.
class PatternMatrix {
 public:
  PatternMatrix(const Elimination& plan, const Blas& blas, bool with_dense = true);

  void set_zero();
  double* square(std::size_t node) { return squares_.data() + square_at_[node]; }
  const double* square(std::size_t node) const { return squares_.data() + square_at_[node]; }
  double* rows(std::size_t node) { return rows_.data() + rows_at_[node]; }
  const double* rows(std::size_t node) const { return rows_.data() + rows_at_[node]; }
  TiledMatrix& dense() { return dense_; }
  const TiledMatrix& dense() const { return dense_; }
  void swap_dense(PatternMatrix& other) { std::swap(dense_, other.dense_); }

  // The block of variables u … and v … (n_u x n_v by columns) is added.
  void add_block(std::int32_t u, std::int32_t v, const double* block, Index n_u, Index n_v);

  // In a level's rows, for matrices of q numbers a row (Q = q, or 0 for any q):
  //     M_rr -= Y Y',   M_rr -= X Y' + Y X'
  template <Index Q>
  void subtract_gram(const Level& level, const double* Y, Index q);
  template <Index Q>
  void subtract_mixed(const Level& level, const double* X, const double* Y, Index q);
  // V = M_rr E; or where half is enough the part of it that E'V + V'E = E'M_rr E.
  template <Index Q>
  void multiply(const Level& level, const double* E, Index q, double* V) const;
  template <Index Q>
  void multiply_half(const Level& level, const double* E, Index q, double* V) const;

 private:
  struct Offsets {
    std::vector<std::int64_t> row, column;
  };
  template <class Visit>  // visit(k, place): rows[k] stands at this place among the node's rows
  void for_each_place(std::size_t node, const std::int32_t* rows, Index n_rows,
                      const Visit& visit) const;
  template <class Visit>  // visit(node, its width, where it stands among the level's rows)
  void for_each_node(const Level& level, const Visit& visit) const;
  template <Index Q, bool kWhole>
  void multiply_any(const Level& level, const double* E, Index q, double* V) const;
  const Offsets& offsets_of(const Level& level) const;

  const Elimination* plan_;
  std::vector<std::size_t> square_at_, rows_at_;
  std::vector<double> squares_, rows_;
  TiledMatrix dense_;
  std::vector<std::int64_t> row_offset_, column_offset_;  // by dense variable
  mutable Offsets offsets_;                               // of the level at hand
};

}  // namespace blocklmm
