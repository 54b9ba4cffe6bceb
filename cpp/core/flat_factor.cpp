#include <cmath>

#include "sparse_factor.hpp"

// The elimination with T infinitely large: what Z spans of Z'Z, level by level.

namespace blocklmm {
namespace {

// W with W W' = A^- (q x q), upper triangular; a pivot of at most `least` counts as zero. Returns
// the rank.
Index flat_root(const double* A, const std::vector<double>& least, double* W) {
  const auto q = static_cast<Index>(least.size());
  const Eigen::Map<const Matrix> a(A, q, q);
  Matrix L = Matrix::Zero(q, q), inverse = L;
  Index rank = 0;
  for (Index j = 0; j < q; ++j) {
    const double pivot = a(j, j) - L.row(j).head(j).squaredNorm();
    if (!(pivot > least[static_cast<std::size_t>(j)])) continue;
    ++rank;
    L(j, j) = std::sqrt(pivot);
    for (Index i = j + 1; i < q; ++i)
      L(i, j) = (a(i, j) - L.row(i).head(j).dot(L.row(j).head(j))) / L(j, j);
    // row j of L^-1, where what was left out has zeros
    inverse(j, j) = 1 / L(j, j);
    inverse.row(j).head(j) = -inverse(j, j) * L.row(j).head(j) * inverse.topLeftCorner(j, j);
  }
  Eigen::Map<Matrix>(W, q, q) = inverse.transpose();
  return rank;
}

}  // namespace

Index SparseFactor::factor_flat(double nothing) {
  fill();
  Index rank = 0;
  std::vector<double> total;
  const auto totals = [&](const LevelRecords& records, Index level) -> const std::vector<double>& {
    total.resize(static_cast<std::size_t>(records.n_random()));
    for (std::size_t a = 0; a < total.size(); ++a) {
      const auto j = static_cast<Index>(a);
      total[a] = nothing * records.record(level)[records.position(j, j)];
    }
    return total;
  };
  const LevelRecords& leaves = statistics_.factor(plan_.leaf);
  over_leaves([&](auto& eliminator, Index i, const Level& level) {
    rank += flat_root(level.A, totals(leaves, i), leaf_W_.data() + i * eliminator.q * eliminator.q);
    eliminator.update_later(level, A_);
  });
  std::vector<Index> level_of(plan_.nodes.size());
  for (std::size_t f = 0; f < plan_.variable.size(); ++f)
    for (std::size_t l = 0; l < plan_.variable[f].size(); ++l)
      if (plan_.variable[f][l] < plan_.n_middle)
        level_of[static_cast<std::size_t>(
            plan_.node_of[static_cast<std::size_t>(plan_.variable[f][l])])] = static_cast<Index>(l);
  over_nodes(false, [&](auto& eliminator, std::size_t k, const Level& level) {
    const LevelRecords& records = statistics_.factor(plan_.nodes[k].factor);
    rank += flat_root(level.A, totals(records, level_of[k]), node_W_.data() + node_W_at_[k]);
    eliminator.update_later(level, A_);
  });
  return rank;
}

}  // namespace blocklmm
