#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>
#include <vector>

#include "blas.hpp"
#include "lanes.hpp"

namespace blocklmm {

// Where element (i, j), i >= j, of a tiled matrix of side n stands: row_offset + column_offset.
struct TileLayout {
  static constexpr Index kLargestTile = 256;
  explicit TileLayout(Index n)
      : tile(std::max<Index>(8, std::min(kLargestTile, (n + 7) / 8 * 8))) {}
  Index row_offset(Index i) const {
    const Index t = i / tile;
    return t * (t + 1) / 2 * tile * tile + i % tile;
  }
  Index column_offset(Index j) const { return j / tile * tile * tile + j % tile * tile; }
  Index tile;
};

// A dense symmetric matrix, of which the lower triangle is kept as square tiles, row of tiles
// after row of tiles: half the memory of a full matrix, and every operation is one of a tuned
// BLAS on tiles.
//
// Tasks are tiles, and each tile is the work of one task: the same bits for any number of threads
// (given that the BLAS itself runs one).
class TiledMatrix {
 public:
  TiledMatrix(Index n, const Blas& blas);
  // Bytes that a matrix of this side takes.
  static double bytes(Index n);

  Index size() const { return n_; }
  void set_zero();
  void scale(const Vector& s);  // A_ij <- s_i A_ij s_j
  double* data() { return values_.data(); }
  const double* data() const { return values_.data(); }
  double& at(Index i, Index j) { return values_[place(i, j)]; }
  double at(Index i, Index j) const { return values_[place(i, j)]; }

  // A <- L with A = LL'. Throws NotPositiveDefinite with the pivot where it is not.
  void cholesky(int n_threads);
  // L <- A^-1 = L^-T L^-1.
  void invert(int n_threads);
  // With a Cholesky factor, for a panel of columns (n x k, by columns): L^-1 panel, L^-T panel.
  void solve_lower(Matrix& panel) const;
  void solve_lower_transposed(Matrix& panel) const;
  // A times a panel, for a symmetric matrix.
  Matrix times(const Matrix& panel) const;

 private:
  std::size_t place(Index i, Index j) const {
    if (i < j) std::swap(i, j);
    return static_cast<std::size_t>(layout_.row_offset(i) + layout_.column_offset(j));
  }
  double* tile(Index i, Index j) { return values_.data() + (i * (i + 1) / 2 + j) * tile_ * tile_; }
  const double* tile(Index i, Index j) const {
    return values_.data() + (i * (i + 1) / 2 + j) * tile_ * tile_;
  }
  int rows_of(Index t) const { return static_cast<int>(std::min(tile_, n_ - t * tile_)); }
  void gemm(char ta, char tb, int m, int n, int k, double alpha, const double* A, int lda,
            const double* B, int ldb, double beta, double* C, int ldc) const;
  void triangular(Blas::Triangular what, char side, char trans, int m, int n, double alpha,
                  const double* L, double* B, int ldb) const;
  void syrk(char trans, int n, int k, double alpha, const double* A, double* C) const;

  Index n_;
  TileLayout layout_;
  Index tile_, n_tiles_;
  Blas blas_;
  AlignedVector values_;
};

}  // namespace blocklmm
