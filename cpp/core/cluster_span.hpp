#pragma once

#include <vector>

#include "blas.hpp"
#include "statistics.hpp"

// The rows of a cluster as Z and X see them. V = I + Z Lambda Lambda'Z', relative to sigma^2 and
// for rows times sqrt(w), is block diagonal by clusters: the levels of one factor, in which all
// other factors are nested. On the orthogonal complement of the columns of [Z_i X_i] the block V_i
// is the identity, and nothing there meets Z_i or X_i. So a cluster's rows are known by their
// coordinates in an orthonormal basis O_i of that span, of which only R is ever formed:
//
//     [Z_i X_i] = O_i R,   R'R = [Z_i X_i]'[Z_i X_i],   R_Z Lambda_i = U diag(s) (..)'
//
// and, with the basis turned to U where Z_i reaches,
//
//     O_i'V_i O_i = K = diag(1 + s^2),   1 beyond the reach of Z_i.
//
// The response of the statistics is u = V^-1 (y - X beta) = y - X beta - Z b, taken row by row in
// a pass that knows beta and the modes b: where the model leaves little of y, no digit of u is
// lost to cross products. e = y - X beta is V u; where Z_i reaches, b gives it back with digits that
// u, far smaller there, lacks:  O'u = K^-1 (O'u + R_Z b),  and e'V^-1 e = u'u beyond + O'u'K O'u.
//
// Cholesky takes R from the cross products. It is backward stable, and what is made of R is smooth
// in the cross products: a row of R whose pivot is rounding alone is left out, which moves nothing
// by more than that. A cluster costs O(side^3), its side being its effects and the columns of X.

namespace blocklmm {

// Which columns of the statistics make Z and X, and the fit in the statistics' units.
struct ClusterFit {
  Index cluster = 0;                        // the factor whose levels are the clusters
  std::vector<Index> x_columns, z_columns;  // the latter by rows of lambda
  std::vector<std::vector<Index>> members;  // by factor, which rows of lambda are its columns
  Matrix lambda;                            // q x q
  Matrix N;                                 // p x p, N N' = (X'V^-1 X)^-1
};

struct ClusterSpan {
  double n_rows = 0;
  double square = 0;  // e'V^-1 e
  Vector K;           // its diagonal
  Matrix X;           // O'X_i N
  Matrix Z;           // O'Z_i, of one factor alone, level after level
  Vector u;           // O'u
};

class ClusterSpans {
 public:
  // rows: one pass, in which the records of the clusters hold all cross products, with u for y.
  // pairs: statistics of the same rows that have the pairs of levels of several factors.
  ClusterSpans(const Statistics& rows, const Statistics& pairs, ClusterFit fit, const Blas& blas);

  const Blas& blas() const { return blas_; }
  Index n_clusters() const { return own_.n_levels(); }
  Index p() const { return static_cast<Index>(fit_.x_columns.size()); }
  Index q(Index factor) const {
    return static_cast<Index>(fit_.members[static_cast<std::size_t>(factor)].size());
  }
  Index n_factors() const { return static_cast<Index>(fit_.members.size()); }
  // Effects and columns of X of the largest cluster.
  Index largest_side() const;

  // z_factor: the factor whose part of Z_i is wanted.
  void compute(Index cluster, Index z_factor, ClusterSpan& span) const;

 private:
  // A factor nested in the clusters.
  struct Inner {
    Index factor;
    Matrix lambda;
    std::vector<Index> start, levels;   // by cluster, its levels
    std::vector<Index> cluster, place;  // by level, its cluster and number there
    std::vector<Index> A, others;       // positions in a record: Z'Z by columns, Z'[X u]
    Index q() const { return lambda.rows(); }
    Index n_effects(Index i) const {
      return (start[static_cast<std::size_t>(i + 1)] - start[static_cast<std::size_t>(i)]) * q();
    }
  };
  void find_inner(Index factor);
  Index own_q() const { return static_cast<Index>(own_z_.size()); }
  Index n_inner_effects(Index cluster) const;
  void fill_inner(Index cluster, Matrix& gram) const;
  Vector effects(Index cluster) const;  // what the pass took from y, or zero
  Matrix times_lambda(Index cluster, const Matrix& rows) const;  // rows of Z_i times Lambda_i

  const Statistics &rows_, &pairs_;
  const LevelRecords& own_;
  ClusterFit fit_;
  Blas blas_;
  Matrix own_lambda_;
  std::vector<Inner> inner_;
  std::vector<Index> own_z_, own_x_;  // columns of the record: Z of the clusters, what X adds
  std::vector<Index> gram_;           // positions of their cross products and those with u
  std::vector<Index> x_place_;        // which of them each column of X is
  bool knows_effects_ = true;
};

}  // namespace blocklmm
