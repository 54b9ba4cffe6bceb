#pragma once

#include "cluster_span.hpp"

// Cluster-robust covariances of the fixed effects (Liang & Zeger 1986; Bell & McCaffrey 2002;
// Pustejovsky & Tipton 2018), relative to sigma^2 and for columns of X times N, in which M =
// (X'V^-1X)^-1 is the identity:
//
//     cov = sum t_i t_i',   t_i = X_i'V_i^-1 A_i e_i,   e = y - X beta^
//     none       A_i = I
//     symmetric  A_i = D_i'(D_i (V_i - X_i X_i') D_i')^(+1/2) D_i,  V_i = D_i'D_i
//     jackknife  A_i = (I - X_i X_i'V_i^-1)^+,  so that t_i = beta^ - beta^ without the cluster
//
// CR0, CR1 and CR1S are multiples of the first, CR2 is the second, CR3 the third. The symmetric A_i
// makes cov unbiased where V is right. It is the geometric mean of V_i and (V_i - X_i X_i')^+, so
// that it does not depend on which factor D_i is: in the span of cluster_span.hpp D = K^(1/2), and
// with Phi = K^(-1/2) O'X_i, G = (I - Phi Phi')^(1/2) and omega, v the eigenvalues and vectors of
// Phi'Phi = X_i'V_i^-1X_i,
//
//     D (V - X X') D' = K G G K,   GK = Q P: Q orthogonal, P symmetric (the polar factors)
//     K (K G G K)^(-1/2) = G^-1 Q,   Q = U V' from the singular vectors of GK
//     G^+-1 = I + Phi v diag(..) v'Phi',   -1 / (1 + g) and 1 / (g (1 + g)) for g = sqrt(1 - omega)
//
// so that K, however large, is neither squared nor inverted. omega = 1 where the cluster alone knows
// a coefficient (its own indicator): nothing is left of e there, and the pseudo-inverses (those of
// symmetric matrices: the jackknife's is for the inner product of V_i^-1) leave the direction out.
// Each adjustment is one matrix Pi, its rows in the span, its columns those of X, with which
//
//     t = Pi'K^(1/2) u,   X'V^-1 A V A'V^-1 X = Pi'Pi,   X'V^-1 A X = Pi'Phi
//     none  Pi = Phi      symmetric  Pi = G^-1 Q Phi      jackknife  Pi = Phi (I - Phi'Phi)^+
//
// The last two give the degrees of freedom: where V is right the covariance of c't_i and c't_j is
// sigma^2 (1[i = j] c'Pi_i'Pi_i c - c'Pi_i'Phi_i Phi_j'Pi_j c).

namespace blocklmm {

enum class Adjustment { none, symmetric, jackknife };

// Where to write the results of clusters, one after the other, matrices by columns; null pointers
// are skipped. With contrasts a_1 … a_c of the columns X N, by columns of `contrasts`:
struct ClusterResult {
  double* n_rows = nullptr;    // 1
  double* scores = nullptr;    // p: t
  double* variance = nullptr;  // c x c: a'Pi'Pi a
  double* reach = nullptr;     // p x c: Phi'Pi a
  // The cluster's share in S = M'V^-1M, of which X_i'V_i^-1e_i are the scores without adjustment,
  // and in the derivatives of the criterion (block_objective.hpp):
  double* leverage = nullptr;  // p x p: X_i'V_i^-1X_i
  double* square = nullptr;    // 1: e_i'V_i^-1e_i
  // of one factor's levels l in the cluster, J_l = Z_l'V^-1[X e] (q x (p + 1)):
  double* A = nullptr;        // q x q: sum Z_l'V^-1Z_l
  double* moments = nullptr;  // q (p + 1) x q (p + 1): sum vec(J_l) vec(J_l)'
};

// Of clusters first … first + n - 1; z_factor: the factor of A and moments.
void cluster_sums(const ClusterSpans& spans, Index first, Index n, Index z_factor,
                  Adjustment adjustment, const Matrix& contrasts, const ClusterResult& to,
                  int n_threads);

}  // namespace blocklmm
