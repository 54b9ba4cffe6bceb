#include "bootstrap.hpp"

#include <chrono>

#include "errors.hpp"
#include "parallel.hpp"

namespace blocklmm {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

Response response_of(const Response& response, const Statistics::Effects& effects) {
  Response out;
  out.x_columns = response.x_columns;
  out.Xy = response.Xy;
  out.yy = response.yy;
  for (const auto& [f, K] : effects)
    out.Zy.push_back(K.transpose() * response.Zy[static_cast<std::size_t>(f)]);
  return out;
}

}  // namespace

// One thread's models.
class Bootstrap::Worker {
 public:
  Worker(const Bootstrap& of) : of_(of) {
    for (const BootstrapModel& model : of.models_)
      models_.emplace_back(of.statistics_.with_effects(model.effects), model.columns, of.blas_,
                           of.memory_limit_);
  }

  void run(Index replicate, Refit* out, Seconds& seconds) {
    const Clock::time_point start = Clock::now();
    Random random(of_.seed_, static_cast<std::uint64_t>(replicate));
    const Response response = of_.draws_->draw(of_.lambdas_, of_.sigma_, random);
    const Clock::time_point drawn = Clock::now();
    for (std::size_t k = 0; k < models_.size(); ++k) {
      models_[k].take(response_of(response, of_.models_[k].effects));
      out[k] = models_[k].minimum(of_.models_[k].starts, 0, of_.options_);
    }
    seconds.drawing += seconds_between(start, drawn);
    seconds.fitting += seconds_between(drawn, Clock::now());
  }

 private:
  const Bootstrap& of_;
  std::vector<RefittedModel> models_;
};

Bootstrap::Bootstrap(const Statistics& statistics, std::vector<Index> x_columns,
                     std::vector<Matrix> lambdas, double sigma, std::vector<BootstrapModel> models,
                     const OptimizerOptions& options, const Blas& blas, double memory_limit,
                     std::uint64_t seed)
    : statistics_(statistics),
      lambdas_(std::move(lambdas)),
      sigma_(sigma),
      models_(std::move(models)),
      options_(options),
      blas_(blas),
      memory_limit_(memory_limit),
      seed_(seed),
      plan_(std::make_unique<Elimination>(statistics, memory_limit)),
      draws_(std::make_unique<ResponseDraws>(statistics, *plan_, std::move(x_columns), blas)) {
  require(static_cast<Index>(lambdas_.size()) == statistics.n_factors() && sigma > 0,
          "a lambda of each factor, and sigma");
}

Bootstrap::~Bootstrap() = default;

std::vector<Refit> Bootstrap::run(Index first, Index n, int n_threads) {
  const Index n_workers = std::max<Index>(1, std::min<Index>(n_threads, n));
  while (static_cast<Index>(workers_.size()) < n_workers)
    workers_.push_back(std::make_unique<Worker>(*this));
  std::vector<Refit> out(static_cast<std::size_t>(n) * models_.size());
  std::vector<Seconds> seconds(static_cast<std::size_t>(n_workers));
  for_each_task(n_workers, static_cast<int>(n_workers), [&](Index worker) {
    const auto w = static_cast<std::size_t>(worker);
    for (Index k = worker; k < n; k += n_workers)
      workers_[w]->run(first + k, out.data() + static_cast<std::size_t>(k) * models_.size(),
                       seconds[w]);
  });
  for (const Seconds& s : seconds) {
    seconds_.drawing += s.drawing;
    seconds_.fitting += s.fitting;
  }
  return out;
}

}  // namespace blocklmm
