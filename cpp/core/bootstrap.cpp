#include "bootstrap.hpp"

#include <chrono>
#include <cmath>

#include "criteria.hpp"
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

// One thread's statistics and objectives.
class Bootstrap::Worker {
 public:
  Worker(const Bootstrap& of) : of_(of) {
    for (const BootstrapModel& model : of.models_) {
      statistics_.push_back(
          std::make_unique<Statistics>(of.statistics_.with_effects(model.effects)));
      sparse_.emplace_back();
      block_.emplace_back();
      blocks_.emplace_back(model.blocks);
    }
  }

  void run(Index replicate, Replicate* out, Seconds& seconds) {
    const Clock::time_point start = Clock::now();
    Random random(of_.seed_, static_cast<std::uint64_t>(replicate));
    const Response response = of_.draws_->draw(of_.lambdas_, of_.sigma_, random);
    const Clock::time_point drawn = Clock::now();
    for (std::size_t k = 0; k < of_.models_.size(); ++k) {
      statistics_[k]->replace_response(response_of(response, of_.models_[k].effects));
      out[k] = fit(k);
    }
    seconds.drawing += seconds_between(start, drawn);
    seconds.fitting += seconds_between(drawn, Clock::now());
  }

 private:
  Replicate fit(std::size_t k) {
    const BootstrapModel& model = of_.models_[k];
    const Statistics& statistics = *statistics_[k];
    if (statistics.n_factors() > 1) {
      if (!sparse_[k])
        sparse_[k] = std::make_unique<SparseObjective>(statistics, model.x_columns, model.members,
                                                       model.blocks, of_.blas_, of_.memory_limit_);
      else
        sparse_[k]->take_response();
      return minimum(k, *sparse_[k]);
    }
    if (!block_[k]) {
      std::vector<Entry> entries;
      for (const TermBlock& b : blocks_[k])
        for (Index j = b.start; j < b.start + b.size; ++j)
          for (Index i = b.start; i < b.start + b.size; ++i) entries.emplace_back(i, j);
      block_[k] = std::make_unique<BlockObjective>(statistics, model.x_columns, entries);
    }
    block_[k]->take_response(statistics);  // the first time too, for the same roundings
    return minimum(k, *block_[k]);
  }

  template <class Objective>
  Replicate minimum(std::size_t k, const Objective& objective) {
    const BootstrapModel& model = of_.models_[k];
    const Standardization& units = objective.units();
    const double y_scale = units.m_scale[units.p];
    const double nu = model.criterion.nu(units.n, units.p);
    const double constant = 2 * nu * std::log(y_scale);
    const Optimum found = minimize(criterion_of(objective, model.criterion, constant, 1),
                                   blocks_[k], model.starts, of_.options_);
    Replicate out;
    out.status = found.status;
    if (found.status == Status::exact_fit) return out;
    const Matrix& N = found.evaluation.inverse_factor;
    const Index p = units.p;
    out.value = found.evaluation.value;
    out.factor = found.factor;
    out.beta = -y_scale * N.col(p).head(p) / N(p, p);
    out.sigma = y_scale / (N(p, p) * std::sqrt(nu));
    out.inverse_factor = N.topLeftCorner(p, p);
    return out;
  }

  const Bootstrap& of_;
  std::vector<std::unique_ptr<Statistics>> statistics_;
  std::vector<std::unique_ptr<SparseObjective>> sparse_;  // one of these two for each model
  std::vector<std::unique_ptr<BlockObjective>> block_;
  std::vector<Blocks> blocks_;
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

std::vector<Replicate> Bootstrap::run(Index first, Index n, int n_threads) {
  const Index n_workers = std::max<Index>(1, std::min<Index>(n_threads, n));
  while (static_cast<Index>(workers_.size()) < n_workers)
    workers_.push_back(std::make_unique<Worker>(*this));
  std::vector<Replicate> out(static_cast<std::size_t>(n) * models_.size());
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
