#pragma once

#include <memory>
#include <vector>

#include "block_objective.hpp"
#include "optimizer.hpp"
#include "sparse_objective.hpp"

// A model that is fitted to one response after the other: all that the responses share (Z'Z, Z'X, X'X,
// the order of elimination) is kept, and of each only Z'y, X'y and y'y are read. Each thread has
// one of its own.

namespace blocklmm {

// Which model of the statistics it is.
struct ModelColumns {
  std::vector<Index> x_columns;
  Members members;
  std::vector<Index> blocks;
  Criterion criterion;
};

// In the units of the statistics' columns where not said otherwise.
struct Refit {
  Status status = Status::exact_fit;
  double value = 0;  // f with the constant that was given, and that of y's scale
  double sigma = 0;
  Matrix factor;  // of T, in the units of Standardization, which are those of every response
  Vector beta;    // of X in units of Standardization, y in its own
  Matrix inverse_factor;  // R_XX^-1, in units of Standardization: Var(beta^) = sigma^2 N_X N_X'
  Index n_evaluations = 0;
  std::vector<Index> unidentified;

  bool converged() const {
    return status == Status::closed_form || status == Status::optimal || status == Status::singular;
  }
};

class RefittedModel {
 public:
  RefittedModel(Statistics statistics, ModelColumns model, const Blas& blas, double memory_limit);

  void take(const Response& response);

  // After take(). constant: what the criterion lacks but for the scale of y.
  Refit minimum(const Starts& starts, double constant, const OptimizerOptions& options) const;

  Evaluation evaluate(const Matrix& factor) const;
  CovarianceDerivatives covariance_derivatives(const Matrix& factor) const;

  const Statistics& statistics() const { return *statistics_; }
  const Standardization& units() const;
  const Blocks& blocks() const { return blocks_; }
  // The one of the two that the model has, after the first take().
  const BlockObjective* block() const { return block_.get(); }
  const SparseObjective* sparse() const { return sparse_.get(); }

 private:
  std::unique_ptr<Statistics> statistics_;  // the sparse objective refers to it
  ModelColumns model_;
  Blocks blocks_;
  Blas blas_;
  double memory_limit_;
  std::unique_ptr<BlockObjective> block_;
  std::unique_ptr<SparseObjective> sparse_;
};

}  // namespace blocklmm
