#include "response_fits.hpp"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "chart.hpp"
#include "errors.hpp"
#include "moment_start.hpp"
#include "parallel.hpp"
#include "rank.hpp"

namespace blocklmm {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kTiny = 1e-280;      // squares below lose digits
constexpr double kVarying = 1e-10;    // in parts of n: columns of X that vary within the groups
constexpr double kDependent = 1e-13;  // what earlier columns leave of a column's sum of squares

// Least squares of the last column on some others: what they leave of its sum of squares.
class LeastSquares {
 public:
  LeastSquares(const Matrix& cross, std::vector<Index> columns)
      : columns_(std::move(columns)), factor_(Matrix(cross(columns_, columns_))) {}
  double left(const Matrix& cross) const {
    const Index y = cross.rows() - 1;
    const Vector products = cross.col(y)(columns_);
    const Vector half = factor_.matrixL().solve(products);
    return std::max(cross(y, y) - half.squaredNorm(), 0.0);
  }
  Index size() const { return static_cast<Index>(columns_.size()); }

 private:
  std::vector<Index> columns_;
  Eigen::LLT<Matrix> factor_;
};

LeastSquares of_all(const Matrix& cross) {
  std::vector<Index> columns;
  for (Index j = 0; j + 1 < cross.rows(); ++j) columns.push_back(j);
  return {cross, columns};
}

LeastSquares of_varying(const Matrix& within, Index n) {
  std::vector<Index> varying, columns;
  for (Index j = 0; j + 1 < within.rows(); ++j)
    if (within(j, j) > kVarying * static_cast<double>(n)) varying.push_back(j);
  for (const Index k : independent_columns(within(varying, varying), kDependent))
    columns.push_back(varying[static_cast<std::size_t>(k)]);
  return {within, columns};
}

}  // namespace

// One thread's model.
class ResponseFits::Worker {
 public:
  explicit Worker(const ResponseFits& of)
      : of_(of), model_(of.statistics_, of.model_.columns, of.blas_, of.memory_limit_) {}

  ResponseFit fit(const Response& response, double shift) {
    ResponseFit out;
    out.needs_rows = true;
    const auto n = static_cast<double>(of_.statistics_.n_rows_used());
    const double rounding = 4 * kEps * shift, total = response.yy;
    if (!(total > std::max(kTiny, n * rounding * rounding)) || !std::isfinite(total)) return out;
    model_.take(response);
    const std::optional<Starts> starts = starts_of();
    if (!starts) return out;
    out.refit = model_.minimum(*starts, of_.model_.constant, of_.options_);
    if (out.refit.status == Status::exact_fit) return out;
    const double sigma = out.refit.sigma;
    if (model_.sparse() && n * sigma * sigma <= of_.model_.rounding_left * total) return out;
    out.needs_rows = false;
    const Matrix lambda = canonical_factor(model_.blocks(), of_.model_.z_basis * out.refit.factor);
    out.theta.resize(model_.blocks().n_pairs());
    Index at = 0;
    for (const TermBlock& b : model_.blocks())
      for (Index j = b.start; j < b.start + b.size; ++j)
        for (Index i = j; i < b.start + b.size; ++i) out.theta[at++] = lambda(i, j);
    return out;
  }

  ResponseDerivatives derivatives(const Response& response, const Matrix& factor) {
    model_.take(response);
    const Index p = model_.units().p;
    const CovarianceDerivatives found = model_.covariance_derivatives(factor);
    const auto d = static_cast<Index>(found.directions.size());
    const Chart chart(model_.blocks(), factor);
    ResponseDerivatives out{found.S,  Matrix(d, d),   Matrix(d, d), found.trace_pairs,
                            Matrix(), chart.factor(), chart.basis()};
    for (Index k = 0; k < d; ++k)
      for (Index l = 0; l < d; ++l) {
        const Matrix& Q = found.Q[static_cast<std::size_t>(k * d + l)];
        out.Q_ee(k, l) = Q(p, p);
        out.Q_trace(k, l) = Q.diagonal().head(p).sum();
      }
    out.gamma = model_.evaluate(factor).gamma;
    return out;
  }

 private:
  // Where to begin; nothing where hardly anything of the response is left to explain.
  std::optional<Starts> starts_of() {
    const Standardization& units = model_.units();
    const double total = units.C(units.p, units.p);
    if (!all_) all_.emplace(of_all(units.C));
    const double left = all_->left(units.C), least = of_.model_.nearly_exact * total;
    if (left <= least) return std::nullopt;
    double spread = 0;  // of groups, in parts of that within them
    if (const BlockObjective* block = model_.block()) {
      const Matrix& C_within = block->within();
      if (!varying_) varying_.emplace(of_varying(C_within, units.n));
      const double within = varying_->left(C_within);
      const Index df = units.n - block->rank_of_z() - varying_->size();
      if (within <= least && df > 0) return std::nullopt;
      const double between = std::max(left - within, 0.0);
      spread =
          std::sqrt(between / std::max(within, 1e-300) *
                    static_cast<double>(std::max<Index>(df, 0)) / static_cast<double>(units.n));
    }
    const Index q = units.q;
    const Matrix first =
        spread > of_.model_.far_apart ? Matrix(spread * Matrix::Identity(q, q)) : by_moments();
    Starts out{{first}, {0.1 * first, 4.0 * first}};
    const Vector& inflation = of_.model_.inflation;
    if (inflation.size())
      out.always.push_back(
          (inflation.array() > 0).select(inflation, first.rowwise().norm()).asDiagonal());
    return out;
  }

  Matrix by_moments() {
    const Statistics& statistics = model_.statistics();
    const Members& members = of_.model_.columns.members;
    if (!moments_)
      moments_.emplace(moment_equations(statistics, model_.units(), members, model_.blocks()),
                       model_.blocks(), model_.units().n);
    return moments_->factor_of(
        observed_moments(statistics, model_.units(), members, moments_->pairs()));
  }

  const ResponseFits& of_;
  RefittedModel model_;
  std::optional<MomentStart> moments_;
  std::optional<LeastSquares> all_, varying_;
};

ResponseFits::ResponseFits(const Statistics& statistics, ResponseModel model,
                           const OptimizerOptions& options, const Blas& blas, double memory_limit)
    : statistics_(statistics),
      model_(std::move(model)),
      options_(options),
      blas_(blas),
      memory_limit_(memory_limit) {
  const Index q = Blocks(model_.columns.blocks).q();
  require(model_.z_basis.rows() == q && model_.z_basis.cols() == q, "a basis of Z");
  require(model_.inflation.size() == 0 || model_.inflation.size() == q, "a size for each effect");
}

ResponseFits::~ResponseFits() = default;

template <class Work>
void ResponseFits::for_each_response(Index n, int n_threads, const Work& work) {
  const Index n_workers = std::max<Index>(1, std::min<Index>(n_threads, n));
  while (static_cast<Index>(workers_.size()) < n_workers)
    workers_.push_back(std::make_unique<Worker>(*this));
  for_each_task(n_workers, static_cast<int>(n_workers), [&](Index worker) {
    for (Index k = worker; k < n; k += n_workers)
      work(*workers_[static_cast<std::size_t>(worker)], k);
  });
}

std::vector<ResponseFit> ResponseFits::run(const Responses& responses, Index first, Index n,
                                           int n_threads) {
  require(first >= 0 && n >= 0 && first + n <= responses.n(), "responses");
  std::vector<ResponseFit> out(static_cast<std::size_t>(n));
  for_each_response(n, n_threads, [&](Worker& worker, Index k) {
    out[static_cast<std::size_t>(k)] =
        worker.fit(responses.response(first + k), responses.shift[first + k]);
  });
  return out;
}

std::vector<ResponseDerivatives> ResponseFits::derivatives(const Responses& responses,
                                                           const std::vector<Index>& numbers,
                                                           const std::vector<Matrix>& factors,
                                                           int n_threads) {
  require(numbers.size() == factors.size(), "a factor for each response");
  const auto n = static_cast<Index>(numbers.size());
  std::vector<ResponseDerivatives> out(numbers.size());
  for_each_response(n, n_threads, [&](Worker& worker, Index i) {
    const auto k = static_cast<std::size_t>(i);
    out[k] = worker.derivatives(responses.response(numbers[k]), factors[k]);
  });
  return out;
}

}  // namespace blocklmm
