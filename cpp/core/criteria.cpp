#include "criteria.hpp"

namespace blocklmm {

CriterionFunction criterion_of(const BlockObjective& objective, const Criterion& criterion,
                               double constant, int n_threads) {
  const auto evaluate = [&objective, criterion, n_threads](const Matrix& F,
                                                           Derivatives derivatives) {
    return objective.evaluate(F, criterion, derivatives != Derivatives::none, n_threads);
  };
  const Derivatives exact = Derivatives::exact_hessian;
  return {evaluate, constant, objective.units().n, exact, exact};
}

CriterionFunction criterion_of(const SparseObjective& objective, const Criterion& criterion,
                               double constant, int n_threads) {
  const auto evaluate = [&objective, criterion, n_threads](const Matrix& F,
                                                           Derivatives derivatives) {
    const bool is_exact = derivatives == Derivatives::exact_hessian;
    return objective.evaluate(F, criterion, derivatives != Derivatives::none,
                              is_exact ? ExactHessian::always : ExactHessian::never, n_threads);
  };
  const Derivatives approximate = Derivatives::approximate_hessian;
  return {evaluate, constant, objective.units().n, approximate,
          objective.plan().is_small() ? Derivatives::exact_hessian : approximate};
}

}  // namespace blocklmm
