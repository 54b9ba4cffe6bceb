#include "criteria.hpp"

namespace blocklmm {

Criterion criterion_of(const BlockObjective& objective, bool reml, double constant, int n_threads) {
  const auto evaluate = [&objective, reml, n_threads](const Matrix& F, bool derivatives) {
    return objective.evaluate(F, reml, derivatives, n_threads);
  };
  return {evaluate, constant, objective.units().n, true};
}

Criterion criterion_of(const SparseObjective& objective, bool reml, double constant,
                       int n_threads) {
  const auto evaluate = [&objective, reml, n_threads](const Matrix& F, bool derivatives) {
    return objective.evaluate(F, reml, derivatives, ExactHessian::if_cheap, n_threads);
  };
  return {evaluate, constant, objective.units().n, objective.plan().is_small()};
}

}  // namespace blocklmm
