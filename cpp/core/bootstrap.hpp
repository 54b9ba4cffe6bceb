#pragma once

#include <memory>

#include "refitted_model.hpp"
#include "response_draws.hpp"

// Models fitted to responses drawn on the statistics (response_draws.hpp), replicate after
// replicate. No row is read, and none is made: a replicate costs a draw and a fit.
//
// Each replicate has a stream of random numbers of its own, so that it does not depend on the
// thread that runs it. Each thread has statistics of its own, whose response is replaced.

namespace blocklmm {

// One of the models that are fitted to each response.
struct BootstrapModel {
  Statistics::Effects effects;  // linear combinations of those of the statistics
  ModelColumns columns;
  Starts starts;
};

class Bootstrap {
 public:
  // y = Zb + e with a lambda by factor, in the units of the statistics, and sigma. All columns of X that some model has must be in x_columns.
  Bootstrap(const Statistics& statistics, std::vector<Index> x_columns, std::vector<Matrix> lambdas,
            double sigma, std::vector<BootstrapModel> models, const OptimizerOptions& options,
            const Blas& blas, double memory_limit, std::uint64_t seed);
  ~Bootstrap();

  // Replicates first … first + n - 1, model after model within each; values lack all constants but
  // that of y's scale.
  std::vector<Refit> run(Index first, Index n, int n_threads);

  struct Seconds {
    double drawing = 0, fitting = 0;  // of all threads
  };
  const Seconds& seconds() const { return seconds_; }

 private:
  class Worker;
  const Statistics& statistics_;
  std::vector<Matrix> lambdas_;
  double sigma_;
  std::vector<BootstrapModel> models_;
  OptimizerOptions options_;
  Blas blas_;
  double memory_limit_;
  std::uint64_t seed_;
  std::unique_ptr<Elimination> plan_;
  std::unique_ptr<ResponseDraws> draws_;
  std::vector<std::unique_ptr<Worker>> workers_;
  Seconds seconds_;
};

}  // namespace blocklmm
