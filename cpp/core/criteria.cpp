#include "criteria.hpp"

namespace blocklmm {

CriterionFunction criterion_of(const BlockObjective& objective, const Criterion& criterion,
                               double constant, int n_threads, bool with_samples) {
  const Derivatives exact = Derivatives::exact_hessian;
  const Index n_all = objective.units().n;
  const auto of_every = [&](Index every) {
    const auto evaluate = [&objective, criterion, n_threads, every](const Matrix& F,
                                                                    Derivatives derivatives) {
      return objective.evaluate(F, criterion, derivatives != Derivatives::none, n_threads, every);
    };
    return CriterionFunction{evaluate, constant / static_cast<double>(every), n_all / every, exact,
                             exact};
  };
  CriterionFunction out = of_every(1);
  if (with_samples)
    for (const Index every : objective.samples()) out.samples.push_back(of_every(every));
  return out;
}

CriterionFunction criterion_of(const SparseObjective& objective, const Criterion& criterion,
                               double constant, int n_threads, bool) {
  const auto evaluate = [&objective, criterion, n_threads](const Matrix& F,
                                                           Derivatives derivatives) {
    const bool is_exact = derivatives == Derivatives::exact_hessian;
    return objective.evaluate(F, criterion, derivatives != Derivatives::none,
                              is_exact ? ExactHessian::always : ExactHessian::never, n_threads);
  };
  const Derivatives approximate = Derivatives::approximate_hessian;
  const bool is_small = objective.plan().is_small();  // evaluations cost nothing to speak of
  return {evaluate,
          constant,
          objective.units().n,
          approximate,
          is_small ? Derivatives::exact_hessian : approximate,
          is_small ? 1e-20 : 1e-12};
}

CriterionFunction criterion_of(const SpreadObjective& objective, const Criterion& criterion,
                               double constant, int, bool) {
  const auto evaluate = [&objective, criterion](const Matrix& F, Derivatives derivatives) {
    return objective.evaluate(F, criterion, derivatives != Derivatives::none);
  };
  const Derivatives exact = Derivatives::exact_hessian;
  return {evaluate, constant, objective.units().n, exact, exact};
}

}  // namespace blocklmm
