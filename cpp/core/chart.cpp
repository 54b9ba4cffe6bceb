#include "chart.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "errors.hpp"

namespace blocklmm {
namespace {

constexpr double kVanishing = 1e-100;  // with s_i = 0 too, e_i e_j' + e_j e_i' stands for the pair

// UE for each pair i <= j as a column.
Matrix horizontal_basis(const Eigen::Ref<const Matrix>& U, const Eigen::Ref<const Vector>& s) {
  const Index q = s.size();
  Matrix basis = Matrix::Zero(q * q, q * (q + 1) / 2);
  for (Index i = 0, k = 0; i < q; ++i) {
    const double length = std::max(1.0, s[i]);
    basis.col(k++).segment(i * q, q) = length * U.col(i);
    const bool vanishing = s[i] <= kVanishing;
    for (Index j = i + 1; j < q; ++j, ++k) {
      const double along_i = vanishing ? 1 : s[j], along_j = vanishing ? 1 : s[i];
      const double unit = length / std::hypot(along_i, along_j);
      basis.col(k).segment(j * q, q) = unit * along_i * U.col(i);
      basis.col(k).segment(i * q, q) = unit * along_j * U.col(j);
    }
  }
  return basis;
}

}  // namespace

Chart::Chart(const Blocks& blocks, const Matrix& F)
    : blocks_(&blocks), U_(Matrix::Zero(blocks.q(), blocks.q())), sizes_(blocks.q()) {
  require(F.rows() == blocks.q() && F.cols() == blocks.q(), "a factor is q x q");
  for (const TermBlock& b : blocks) {
    const Eigen::JacobiSVD<Matrix, Eigen::NoQRPreconditioner> svd(
        F.block(b.start, b.start, b.size, b.size), Eigen::ComputeFullU);
    U_.block(b.start, b.start, b.size, b.size) = svd.matrixU();
    sizes_.segment(b.start, b.size) = svd.singularValues();
  }
  place_basis();
}

Chart::Chart(const Blocks& blocks, Matrix U, Vector sizes)
    : blocks_(&blocks), U_(std::move(U)), sizes_(std::move(sizes)) {
  place_basis();
}

void Chart::place_basis() {
  factor_ = U_ * sizes_.asDiagonal();
  for (const TermBlock& b : *blocks_)
    basis_.push_back(horizontal_basis(U_.block(b.start, b.start, b.size, b.size),
                                      sizes_.segment(b.start, b.size)));
}

Vector Chart::gradient(const Vector& in_entries) const {
  Vector out(blocks_->n_pairs());
  auto basis = basis_.begin();
  for (const TermBlock& b : *blocks_)
    out.segment(b.first_pair, b.n_pairs()).noalias() =
        (basis++)->transpose() * in_entries.segment(b.first_entry, b.n_entries());
  return out;
}

Matrix Chart::hessian(const Matrix& in_entries) const {
  Matrix out(blocks_->n_pairs(), blocks_->n_pairs()), half;
  auto right = basis_.begin();
  for (const TermBlock& b : *blocks_) {
    half.noalias() = in_entries.middleCols(b.first_entry, b.n_entries()) * *right++;
    auto left = basis_.begin();
    for (const TermBlock& a : *blocks_)
      out.block(a.first_pair, b.first_pair, a.n_pairs(), b.n_pairs()).noalias() =
          (left++)->transpose() * half.middleRows(a.first_entry, a.n_entries());
  }
  return out;
}

Matrix Chart::basis() const {
  Matrix out = Matrix::Zero(blocks_->n_entries(), blocks_->n_pairs());
  auto block = basis_.begin();
  for (const TermBlock& b : *blocks_)
    out.block(b.first_entry, b.first_pair, b.n_entries(), b.n_pairs()) = *block++;
  return out;
}

Chart Chart::moved(const Vector& step) const {
  Matrix F = factor_;
  auto basis = basis_.begin();
  for (const TermBlock& b : *blocks_) {
    const Vector by_columns = *basis++ * step.segment(b.first_pair, b.n_pairs());
    F.block(b.start, b.start, b.size, b.size) +=
        Eigen::Map<const Matrix>(by_columns.data(), b.size, b.size);
  }
  return Chart(*blocks_, F);
}

Chart Chart::resized(const Vector& sizes) const { return Chart(*blocks_, U_, sizes); }

}  // namespace blocklmm
