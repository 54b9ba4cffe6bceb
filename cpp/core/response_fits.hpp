#pragma once

#include <memory>
#include <vector>

#include "refitted_model.hpp"
#include "response_products.hpp"

// One model fitted to many responses, from their products with the design (response_products.hpp).
// Each is a minimisation of its own (optimizer.hpp), from the starts of a single fit: half the
// identity, or where the groups differ by far more than their rows the ratio of the two; moments
// with several factors.
//
// Products hold what the model leaves of a response to some 1e-16 of all of it. Where that is not
// enough, because next to nothing is left, only another look at the rows helps: such responses
// are not fitted here, and marked.

namespace blocklmm {

struct ResponseModel {
  ModelColumns columns;
  double constant = 0;   // what the criterion lacks but for the scale of y
  Vector inflation;      // a second start, where it is not zero; or nothing
  Matrix z_basis;        // Z~ = Z z_basis, for the user's theta
  double nearly_exact;   // what the model may leave of a response before its rows are needed
  double rounding_left;  // the same of what several factors leave
  double far_apart;      // lambda from which moments tell too little to start from
};

struct ResponseFit {
  bool needs_rows = false;  // nothing else is set
  Refit refit;
  Vector theta;  // the user's
};

// What the degrees of freedom of a response's contrasts are made of: see covariance_derivatives.hpp
// and chart.hpp. In the units of Standardization.
struct ResponseDerivatives {
  std::vector<Matrix> S;
  Matrix Q_ee, Q_trace, trace_pairs;  // Q_trace: over the columns of X
  Matrix gamma, F, basis;             // F: of T, where the chart stands
};

class ResponseFits {
 public:
  ResponseFits(const Statistics& statistics, ResponseModel model, const OptimizerOptions& options,
               const Blas& blas, double memory_limit);
  ~ResponseFits();

  // Of responses first, first + 1, ...
  std::vector<ResponseFit> run(const Responses& responses, Index first, Index n, int n_threads);

  // Of some responses, at a factor of T for each, in the core's units.
  std::vector<ResponseDerivatives> derivatives(const Responses& responses,
                                               const std::vector<Index>& numbers,
                                               const std::vector<Matrix>& factors, int n_threads);

  const ResponseModel& model() const { return model_; }

 private:
  class Worker;
  template <class Work>
  void for_each_response(Index n, int n_threads, const Work& work);

  const Statistics& statistics_;
  ResponseModel model_;
  OptimizerOptions options_;
  Blas blas_;
  double memory_limit_;
  std::vector<std::unique_ptr<Worker>> workers_;
};

}  // namespace blocklmm
