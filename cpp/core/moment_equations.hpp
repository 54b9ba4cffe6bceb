#pragma once

#include "blocks.hpp"
#include "criterion.hpp"
#include "group_factors.hpp"

// Equations for the residual variance and the entries of T that need no iteration, to start one
// from (Rao 1972: MINQUE with all prior variances but the residual's zero). With M the projection
// off X, r = M y, and V_k the sum over the levels of Z_i dT_k Z_i' for a pair k of columns of one
// term, dT_k = e_a e_b' + e_b e_a' (e_a e_a' where they are one):
//
//     E r'r     = sigma^2 (n - p) + sum_l T_l tr(M V_l)
//     E r'V_k r = sigma^2 tr(M V_k) + sum_l T_l tr(M V_k M V_l)
//
// where r'V_k r is a sum of products z_a'r z_b'r over the levels, and tr(M V_k M V_l) one of
// products of z'M z over pairs of levels: z'z where they meet, less d'd with d = R_XX^-T X'z for
// all of them. In terms of more than three columns these are taken as independent.

namespace blocklmm {

// In the units of Standardization: sigma^2, then the pairs.
struct MomentEquations {
  std::vector<Entry> pairs;  // rows (a, b) of lambda, a >= b
  Matrix expected;           // the same for every y
  Vector observed;
};

// members: for each factor, the rows of lambda that are its columns.
MomentEquations moment_equations(const Statistics& statistics, const Standardization& units,
                                 const Members& members, const Blocks& blocks);
// For another y alone.
Vector observed_moments(const Statistics& statistics, const Standardization& units,
                        const Members& members, const std::vector<Entry>& pairs);

}  // namespace blocklmm
