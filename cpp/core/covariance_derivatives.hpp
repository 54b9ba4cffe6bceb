#pragma once

#include <vector>

#include "criterion.hpp"

namespace blocklmm {

// How S = M'V^-1M and log|V| change with the entries of T, to second order: what the degrees of
// freedom of Satterthwaite and of Kenward & Roger, and the conditional AIC, are made of. For
// directions dT_k = e_a e_b' + e_b e_a' (e_a e_a' on the diagonal) within the terms' blocks, with
// G_k = Z dT_k Z', D~ = Z'V^-1M, A~ = Z'V^-1Z and N = R_S^-1:
//
//     S_k = -N'M'V^-1 G_k V^-1M N = -N'D~'dT_k D~ N
//     Q_kl = N'M'V^-1 G_k V^-1 G_l V^-1M N = N'D~'dT_k A~ dT_l D~ N
//     traces_k = tr(V^-1 G_k) = tr(A~ dT_k),   trace_pairs_kl = tr(V^-1 G_k V^-1 G_l)
//
// In the units of Standardization; T is linear in its entries, so there are no second derivatives
// of V.
struct CovarianceDerivatives {
  std::vector<Entry> directions;  // (a, b), a <= b
  std::vector<Matrix> S;          // by direction
  std::vector<Matrix> Q;          // by pair of directions, k n_directions + l
  Vector traces;
  Matrix trace_pairs;
};

}  // namespace blocklmm
