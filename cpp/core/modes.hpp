#pragma once

#include "group_factors.hpp"

// Conditional modes (BLUPs) of the random effects and what is known of their error, group by group
// (Robinson 1991; Bates et al. 2015, sec. 2), for given lambda and R_S^-1 of the objective:
//
//     b_i = T D~_i e
//     Var(b_i | y) = sigma^2 lambda (I + lambda'A_i lambda)^-1 lambda'
//     Var(b^_i - b_i) = that + sigma^2 (T D~_Xi) S_XX^-1 (T D~_Xi)'
//     Cov(beta^, b^_i - b_i) = -sigma^2 S_XX^-1 (T D~_Xi)'
//
//     own estimate  A_i^-1 D_i e  (least squares from the group alone),  b_i = (T A~_i) own
//
// The diagonal of T A~_i = I - (I + T A_i)^-1 is the weight of the group's own data, the shrinkage
// factor. Everything comes back relative to sigma, in the units of Standardization, and multiplied
// by `basis` (q x q) from the left, which takes the effects to the user's columns.

namespace blocklmm {

struct ModesRequest {
  const Matrix& lambda;
  const Matrix& inverse_factor;
  const Matrix& basis;
};

// Where to write the results of groups[k], one after the other, matrices by columns; null pointers
// are skipped. cross = T D~_X R_XX^-1; an own estimate that the group can't give is NaN.
struct ModesResult {
  double* modes = nullptr;        // q
  double* conditional = nullptr;  // q x q
  double* prediction = nullptr;   // q x q
  double* cross = nullptr;        // q x p
  double* own = nullptr;          // q
  double* weight = nullptr;       // q
};

void conditional_modes(const Statistics& statistics, const Standardization& units,
                       const ModesRequest& request, const Index* groups, Index n_groups,
                       const ModesResult& to);

// Least squares of y on Z in each group alone, q x groups, in the statistics' units; zero where
// the group's rows are too few.
Matrix own_fits(const Statistics& statistics, const Standardization& units);

}  // namespace blocklmm
