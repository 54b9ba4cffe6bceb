#pragma once

#include "block_objective.hpp"
#include "optimizer.hpp"
#include "sparse_objective.hpp"
#include "spread_objective.hpp"

namespace blocklmm {

// The objectives as the optimiser sees them. They must outlive the criterion; the constant is that
// of the user's units. With samples, of groups, it comes with what leads near its minimum.
CriterionFunction criterion_of(const BlockObjective& objective, const Criterion& criterion,
                               double constant, int n_threads, bool with_samples = false);
CriterionFunction criterion_of(const SparseObjective& objective, const Criterion& criterion,
                               double constant, int n_threads, bool with_samples = false);
CriterionFunction criterion_of(const SpreadObjective& objective, const Criterion& criterion,
                               double constant, int n_threads, bool with_samples = false);

}  // namespace blocklmm
