#pragma once

#include <vector>

#include "blocks.hpp"

// Coordinates of the covariance matrix T = FF' of the random effects near a point, in which
// nothing is redundant.
//
// With F = U diag(s) from the singular values of a term's block, T = (F + UE)(F + UE)'. Of the
// q^2 entries of E, those that only rotate F are left out: for each pair i <= j, E moves along
//
//     s_j e_i e_j' + s_i e_j e_i'   (i < j),      e_i e_i'   (i = j)
//
// The first is orthogonal to the rotation s_i e_i e_j' - s_j e_j e_i' of F (the horizontal space
// of the quotient by rotations; Journee, Bach, Absil & Sepulchre 2010, sec. 3). Each direction is
// made max(1, s_i) long. Where s_j is zero the first turns the range of T without leaving the
// boundary, and e_j e_j' leaves it: its curvature is that of Gamma, so a saddle on the boundary
// shows as a negative eigenvalue of the Hessian.

namespace blocklmm {

class Chart {
 public:
  // About any block diagonal F. The blocks must outlive the chart.
  Chart(const Blocks& blocks, const Matrix& F);

  const Matrix& factor() const { return factor_; }  // U diag(s)
  const Vector& sizes() const { return sizes_; }    // s of each block, largest first

  // Gradient and Hessian in these coordinates, from those in the entries of U diag(s).
  Vector gradient(const Vector& in_entries) const;
  Matrix hessian(const Matrix& in_entries) const;

  // Both at once: entries of the blocks by coordinates.
  Matrix basis() const;

  // The chart about another point, given in these coordinates.
  Chart moved(const Vector& step) const;
  // The chart about U diag(s) for other s of the same order.
  Chart resized(const Vector& sizes) const;

 private:
  Chart(const Blocks& blocks, Matrix U, Vector sizes);
  void place_basis();

  const Blocks* blocks_;
  Matrix U_, factor_;
  Vector sizes_;
  std::vector<Matrix> basis_;  // of each block: UE by columns for each pair, side by side
};

}  // namespace blocklmm
