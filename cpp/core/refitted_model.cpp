#include "refitted_model.hpp"

#include <cmath>
#include <utility>

#include "criteria.hpp"
#include "errors.hpp"

namespace blocklmm {

RefittedModel::RefittedModel(Statistics statistics, ModelColumns model, const Blas& blas,
                             double memory_limit)
    : statistics_(std::make_unique<Statistics>(std::move(statistics))),
      model_(std::move(model)),
      blocks_(model_.blocks),
      blas_(blas),
      memory_limit_(memory_limit) {}

void RefittedModel::take(const Response& response) {
  statistics_->replace_response(response);
  if (statistics_->n_factors() > 1) {
    if (!sparse_)
      sparse_ = std::make_unique<SparseObjective>(*statistics_, model_.x_columns, model_.members,
                                                  model_.blocks, blas_, memory_limit_);
    else
      sparse_->take_response();
    return;
  }
  if (!block_) {
    std::vector<Entry> entries;
    for (const TermBlock& b : blocks_)
      for (Index j = b.start; j < b.start + b.size; ++j)
        for (Index i = b.start; i < b.start + b.size; ++i) entries.emplace_back(i, j);
    block_ = std::make_unique<BlockObjective>(*statistics_, model_.x_columns, entries);
  }
  block_->take_response(*statistics_);  // the first time too, for the same roundings
}

const Standardization& RefittedModel::units() const {
  require(block_ || sparse_, "a response");
  return block_ ? block_->units() : sparse_->units();
}

Refit RefittedModel::minimum(const Starts& starts, double constant,
                             const OptimizerOptions& options) const {
  const Criterion& criterion = model_.criterion;
  const Index p = units().p;
  const double nu = criterion.nu(units().n, p), y_scale = units().m_scale[p];
  constant += 2 * nu * std::log(y_scale);
  const CriterionFunction f = block_ ? criterion_of(*block_, criterion, constant, 1)
                                     : criterion_of(*sparse_, criterion, constant, 1);
  const Optimum found = minimize(f, blocks_, starts, options);
  Refit out;
  out.status = found.status;
  out.n_evaluations = found.n_evaluations;
  out.unidentified = found.unidentified;
  if (found.status == Status::exact_fit) return out;
  const Matrix& N = found.evaluation.inverse_factor;
  out.value = found.evaluation.value;
  out.factor = found.factor;
  out.beta = -y_scale * N.col(p).head(p) / N(p, p);
  out.sigma = y_scale / (N(p, p) * std::sqrt(nu));
  out.inverse_factor = N.topLeftCorner(p, p);
  return out;
}

Evaluation RefittedModel::evaluate(const Matrix& factor) const {
  if (block_) return block_->evaluate(factor, model_.criterion, true, 1);
  return sparse_->evaluate(factor, model_.criterion, true, ExactHessian::never, 1);
}

CovarianceDerivatives RefittedModel::covariance_derivatives(const Matrix& factor) const {
  return block_ ? block_->covariance_derivatives(factor, 1)
                : sparse_->covariance_derivatives(factor, 1);
}

}  // namespace blocklmm
