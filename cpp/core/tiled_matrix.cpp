#include "tiled_matrix.hpp"

#include <algorithm>

#include "errors.hpp"
#include "parallel.hpp"

namespace blocklmm {
TiledMatrix::TiledMatrix(Index n, const Blas& blas)
    : n_(n),
      layout_(n),
      tile_(layout_.tile),
      n_tiles_((n + tile_ - 1) / tile_),
      blas_(blas),
      values_(static_cast<std::size_t>(n_tiles_ * (n_tiles_ + 1) / 2 * tile_ * tile_)) {
  require(
      blas.gemm && blas.syrk && blas.trsm && blas.trmm && blas.potrf && blas.lauum && blas.trtri,
      "the BLAS is incomplete");
}

double TiledMatrix::bytes(Index n) {
  const auto tile = static_cast<double>(TileLayout(n).tile);
  const double n_tiles = std::ceil(static_cast<double>(n) / tile);
  return n_tiles * (n_tiles + 1) / 2 * tile * tile * sizeof(double);
}

void TiledMatrix::set_zero() { std::fill(values_.begin(), values_.end(), 0.0); }

void TiledMatrix::scale(const Vector& s) {
  for (Index i = 0; i < n_tiles_; ++i)
    for (Index j = 0; j <= i; ++j)
      for (Index c = 0; c < rows_of(j); ++c) {
        double* column = tile(i, j) + c * tile_;
        const double right = s[j * tile_ + c];
        const double* left = s.data() + i * tile_;
        for (Index r = 0; r < rows_of(i); ++r) column[r] *= left[r] * right;
      }
}

void TiledMatrix::gemm(char ta, char tb, int m, int n, int k, double alpha, const double* A,
                       int lda, const double* B, int ldb, double beta, double* C, int ldc) const {
  blas_.gemm(&ta, &tb, &m, &n, &k, &alpha, const_cast<double*>(A), &lda, const_cast<double*>(B),
             &ldb, &beta, C, &ldc);
}

void TiledMatrix::triangular(Blas::Triangular what, char side, char trans, int m, int n,
                             double alpha, const double* L, double* B, int ldb) const {
  char lower = 'L', diagonal = 'N';
  int ld = static_cast<int>(tile_);
  what(&side, &lower, &trans, &diagonal, &m, &n, &alpha, const_cast<double*>(L), &ld, B, &ldb);
}

void TiledMatrix::syrk(char trans, int n, int k, double alpha, const double* A, double* C) const {
  char lower = 'L';
  int ld = static_cast<int>(tile_);
  double one = 1;
  blas_.syrk(&lower, &trans, &n, &k, &alpha, const_cast<double*>(A), &ld, &one, C, &ld);
}

// Right-looking: with column k of tiles final, all tiles to its right are updated.
void TiledMatrix::cholesky(int n_threads) {
  const int ld = static_cast<int>(tile_);
  for (Index k = 0; k < n_tiles_; ++k) {
    char lower = 'L';
    int n = rows_of(k), leading = ld, info = 0;
    blas_.potrf(&lower, &n, tile(k, k), &leading, &info);
    if (info != 0) throw NotPositiveDefinite(k * tile_ + info - 1);
    const Index left = n_tiles_ - k - 1;
    for_each_task(left, n_threads, [&](Index task) {
      const Index i = k + 1 + task;
      triangular(blas_.trsm, 'R', 'T', rows_of(i), n, 1, tile(k, k), tile(i, k), ld);
    });
    for_each_task(left * (left + 1) / 2, n_threads, [&](Index task) {
      Index i = 0;
      while ((i + 1) * (i + 2) / 2 <= task) ++i;
      const Index j = task - i * (i + 1) / 2 + k + 1;
      i += k + 1;
      if (i == j)
        syrk('N', rows_of(i), n, -1, tile(i, k), tile(i, i));
      else
        gemm('N', 'T', rows_of(i), rows_of(j), n, -1, tile(i, k), ld, tile(j, k), ld, 1, tile(i, j),
             ld);
    });
  }
}

// First X = L^-1 in place, from the last column of tiles to the first:
//     X_ij = -(sum_{j < k <= i} X_ik L_kj) X_jj
// then A^-1 = X'X in place, from the first row of tiles to the last, which no later row reads:
//     (X'X)_ij = sum_{k >= i} X_ki' X_kj,  the diagonal tile last.
void TiledMatrix::invert(int n_threads) {
  const int ld = static_cast<int>(tile_);
  char lower = 'L', diagonal = 'N';
  AlignedVector column;
  for (Index j = n_tiles_ - 1; j >= 0; --j) {
    int n = rows_of(j), leading = ld, info = 0;
    blas_.trtri(&lower, &diagonal, &n, tile(j, j), &leading, &info);
    const Index below = n_tiles_ - j - 1;
    column.resize(static_cast<std::size_t>(below * tile_ * tile_));
    for (Index k = 0; k < below; ++k)
      std::copy_n(tile(j + 1 + k, j), tile_ * tile_, column.data() + k * tile_ * tile_);
    for_each_task(below, n_threads, [&](Index task) {
      const Index i = j + 1 + task;
      triangular(blas_.trmm, 'L', 'N', rows_of(i), n, 1, tile(i, i), tile(i, j), ld);
      for (Index k = j + 1; k < i; ++k)
        gemm('N', 'N', rows_of(i), n, rows_of(k), 1, tile(i, k), ld,
             column.data() + (k - j - 1) * tile_ * tile_, ld, 1, tile(i, j), ld);
      triangular(blas_.trmm, 'R', 'N', rows_of(i), n, -1, tile(j, j), tile(i, j), ld);
    });
  }
  for (Index i = 0; i < n_tiles_; ++i) {
    for_each_task(i, n_threads, [&](Index j) {
      triangular(blas_.trmm, 'L', 'T', rows_of(i), rows_of(j), 1, tile(i, i), tile(i, j), ld);
      for (Index k = i + 1; k < n_tiles_; ++k)
        gemm('T', 'N', rows_of(i), rows_of(j), rows_of(k), 1, tile(k, i), ld, tile(k, j), ld, 1,
             tile(i, j), ld);
    });
    int n = rows_of(i), leading = ld, info = 0;
    blas_.lauum(&lower, &n, tile(i, i), &leading, &info);
    for (Index k = i + 1; k < n_tiles_; ++k) syrk('T', n, rows_of(k), 1, tile(k, i), tile(i, i));
  }
}

void TiledMatrix::solve_lower(Matrix& panel) const {
  const int ld = static_cast<int>(tile_), k = static_cast<int>(panel.cols());
  const int ldb = static_cast<int>(panel.rows());
  if (k == 0) return;
  for (Index i = 0; i < n_tiles_; ++i) {
    double* block = panel.data() + i * tile_;
    for (Index j = 0; j < i; ++j)
      gemm('N', 'N', rows_of(i), k, rows_of(j), -1, tile(i, j), ld, panel.data() + j * tile_, ldb,
           1, block, ldb);
    triangular(blas_.trsm, 'L', 'N', rows_of(i), k, 1, tile(i, i), block, ldb);
  }
}

void TiledMatrix::solve_lower_transposed(Matrix& panel) const {
  const int ld = static_cast<int>(tile_), k = static_cast<int>(panel.cols());
  const int ldb = static_cast<int>(panel.rows());
  if (k == 0) return;
  for (Index i = n_tiles_ - 1; i >= 0; --i) {
    double* block = panel.data() + i * tile_;
    for (Index j = i + 1; j < n_tiles_; ++j)
      gemm('T', 'N', rows_of(i), k, rows_of(j), -1, tile(j, i), ld, panel.data() + j * tile_, ldb,
           1, block, ldb);
    triangular(blas_.trsm, 'L', 'T', rows_of(i), k, 1, tile(i, i), block, ldb);
  }
}

Matrix TiledMatrix::times(const Matrix& panel) const {
  const int ld = static_cast<int>(tile_), k = static_cast<int>(panel.cols());
  const int ldb = static_cast<int>(panel.rows());
  Matrix out = Matrix::Zero(n_, k), diagonal(tile_, tile_);
  if (k == 0) return out;
  for (Index i = 0; i < n_tiles_; ++i) {
    const double* from = panel.data() + i * tile_;
    double* to = out.data() + i * tile_;
    for (Index j = 0; j < i; ++j) {
      gemm('N', 'N', rows_of(i), k, rows_of(j), 1, tile(i, j), ld, panel.data() + j * tile_, ldb, 1,
           to, ldb);
      gemm('T', 'N', rows_of(j), k, rows_of(i), 1, tile(i, j), ld, from, ldb, 1,
           out.data() + j * tile_, ldb);
    }
    const Eigen::Map<const Matrix> below(tile(i, i), tile_, tile_);
    diagonal = below.selfadjointView<Eigen::Lower>();
    gemm('N', 'N', rows_of(i), k, rows_of(i), 1, diagonal.data(), ld, from, ldb, 1, to, ldb);
  }
  return out;
}

}  // namespace blocklmm
