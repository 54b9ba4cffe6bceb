#pragma once

#include "group_factors.hpp"

// Equations for the variances of the columns of Z that need no iteration, to start one from
// (Rao 1972: MINQUE with all prior variances zero). With M the projection off X, r = M y, and V_j
// = Z_j Z_j' for column j of its factor, taking the effects of different columns as independent:
//
//     E r'r     = sigma^2 (n - p) + sum_k sigma_k^2 tr(M V_k)
//     E r'V_j r = sigma^2 tr(M V_j) + sum_k sigma_k^2 tr(M V_j M V_k)
//
// where r'V_j r = sum (z_j'r)^2 over the levels, and tr(M V_j M V_k) the sum of (z_j'M z_k)^2 over
// the pairs of levels: z_j'z_k where they meet, less d_j'd_k with d = R_XX^-T X'z for all of them.

namespace blocklmm {

// In the units of Standardization: sigma^2, then the columns of Z.
struct MomentEquations {
  Matrix expected;  // (q + 1) x (q + 1), the same for every y
  Vector observed;
};

// members: for each factor, the rows of lambda that are its columns.
MomentEquations moment_equations(const Statistics& statistics, const Standardization& units,
                                 const Members& members);
// For another y alone.
Vector observed_moments(const Statistics& statistics, const Standardization& units,
                        const Members& members);

}  // namespace blocklmm
