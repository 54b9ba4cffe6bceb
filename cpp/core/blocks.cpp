#include "blocks.hpp"

#include "errors.hpp"

namespace blocklmm {
namespace {

// What earlier rows leave of a row's norm: where F may have more dimensions, and where it has none.
constexpr double kExplained = 1e-14, kExhausted = 1e-7;

// Gram-Schmidt along the rows: `rest` starts as F and ends as nothing.
void orthogonalise(Matrix rest, Eigen::Ref<Matrix> L) {
  const Index q = rest.rows();
  const Vector norms = rest.rowwise().norm();
  Index n_left = (rest.colwise().squaredNorm().array() > 0).count();
  for (Index j = 0; j < q; ++j) {
    const double length = rest.row(j).norm();
    if (length <= (n_left > 0 ? kExplained : kExhausted) * norms[j] || length == 0) continue;
    --n_left;
    const Eigen::RowVectorXd direction = rest.row(j) / length;
    L.col(j).tail(q - j).noalias() = rest.bottomRows(q - j) * direction.transpose();
    rest.bottomRows(q - j).noalias() -= L.col(j).tail(q - j) * direction;
  }
}

}  // namespace

Blocks::Blocks(const std::vector<Index>& sizes) {
  for (const Index size : sizes) {
    require(size > 0, "a block has rows");
    blocks_.push_back({q_, size, n_entries_, n_pairs_});
    q_ += size;
    n_entries_ += blocks_.back().n_entries();
    n_pairs_ += blocks_.back().n_pairs();
  }
}

Matrix canonical_factor(const Blocks& blocks, const Matrix& F) {
  require(F.rows() == blocks.q() && F.cols() == blocks.q(), "a factor is q x q");
  Matrix L = Matrix::Zero(blocks.q(), blocks.q());
  for (const TermBlock& b : blocks)
    orthogonalise(F.block(b.start, b.start, b.size, b.size),
                  L.block(b.start, b.start, b.size, b.size));
  return L;
}

}  // namespace blocklmm
