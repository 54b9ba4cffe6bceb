#include "criteria.hpp"

namespace blocklmm {

CriterionFunction criterion_of(const BlockObjective& objective, const Criterion& criterion,
                               double constant, int n_threads) {
  const auto evaluate = [&objective, criterion, n_threads](const Matrix& F, bool derivatives) {
    return objective.evaluate(F, criterion, derivatives, n_threads);
  };
  return {evaluate, constant, objective.units().n, true};
}

CriterionFunction criterion_of(const SparseObjective& objective, const Criterion& criterion,
                               double constant, int n_threads) {
  const auto evaluate = [&objective, criterion, n_threads](const Matrix& F, bool derivatives) {
    return objective.evaluate(F, criterion, derivatives, ExactHessian::if_cheap, n_threads);
  };
  return {evaluate, constant, objective.units().n, objective.plan().is_small()};
}

}  // namespace blocklmm
