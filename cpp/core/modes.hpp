#pragma once

#include "group_factors.hpp"

// Conditional modes (BLUPs) of the random effects and what is known of their error, group by group
// (Robinson 1991; Bates et al. 2015, sec. 2), for given lambda and R_S^-1 of the objective:
//
//     b_i = T D~_i e                      Var(b_i | y) = sigma^2 lambda (I + lambda'A_i lambda)^-1 lambda'
//     Var(b^_i - b_i) = that + sigma^2 (T D~_Xi) S_XX^-1 (T D~_Xi)'
//     Cov(beta^, b^_i - b_i) = -sigma^2 S_XX^-1 (T D~_Xi)'
//
// Everything comes back relative to sigma, in the units of Standardization, and multiplied by
// `basis` (q x q) from the left, which takes the effects to the user's columns.

namespace blocklmm {

struct ModesRequest {
  const Matrix& lambda;
  const Matrix& inverse_factor;
  const Matrix& basis;
};

// For groups[k]: modes (q), conditional (q x q), prediction (q x q), cross = T D~_X R_XX^-1 (q x p),
// each written one after the other, by columns. Null pointers are skipped.
void conditional_modes(const Statistics& statistics, const Standardization& units,
                       const ModesRequest& request, const Index* groups, Index n_groups,
                       double* modes, double* conditional, double* prediction, double* cross);

}  // namespace blocklmm
