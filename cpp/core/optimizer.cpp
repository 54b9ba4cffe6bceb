#include "optimizer.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "chart.hpp"
#include "decompositions.hpp"
#include "errors.hpp"
#include "trust_region.hpp"

namespace blocklmm {
namespace {

constexpr double kEps = std::numeric_limits<double>::epsilon();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
// The certificate's limits, in parts of the number of rows: gradient, negative eigenvalue of Gamma.
constexpr double kFlat = 1e-7, kNegative = 1e-8;
// Curvature of -2 log L: a standard error of one in the units of the starts.
constexpr double kFlatMinimum = 2;
// Evaluations in which a descent by approximate Hessians should come to its end.
constexpr Index kApproximateSteps = 12;
// How much of what counts as rounding the criterion may grow by in a step within rounding.
constexpr double kNoise = 8;
// A boundary point this little above the minimum found may lead lower.
constexpr double kWorthADescent = 1;
constexpr double kSmall = 1e-3;         // a singular value of lambda that may be zero
constexpr double kCurved = 1e-8;        // in parts of n: directions that have something to give
constexpr double kUnidentified = 1e-9;  // in parts of n: no curvature at all

double largest(const Vector& gradient) {
  return gradient.size() ? gradient.cwiseAbs().maxCoeff() : 0;
}

struct Descent {
  Chart chart;
  Evaluation here;
  bool has_stopped = false;     // for want of evaluations
  double flattest = kInfinity;  // the smallest curvature that is not zero
};

class Search {
 public:
  Search(const CriterionFunction& f, const Blocks& blocks, const OptimizerOptions& options)
      : f_(f), blocks_(blocks), options_(options), n_(static_cast<double>(f.n)) {}

  Optimum minimum(const Starts& starts);

 private:
  Evaluation evaluate(const Matrix& F, Derivatives derivatives);
  Descent descend(Chart chart);
  void descend(Descent& at, Derivatives derivatives, Index most_evaluations);
  void descend_from(Chart chart, Descent& best);
  double flat_curvature(const Vector& values) const;
  double decrement(const Vector& values, const Vector& slopes) const;
  double decrement(const Chart& chart, const Evaluation& here) const;
  std::optional<Chart> nearest_boundary(const Chart& chart) const;
  void round_to_boundary(Descent& best);
  double min_eigenvalue(const Evaluation& here) const;
  bool is_certified(const Evaluation& here) const;
  Index n_flat(const Descent& best) const;
  std::vector<Index> unidentified(const Descent& best) const;

  const CriterionFunction& f_;
  const Blocks& blocks_;
  const OptimizerOptions& options_;
  const double n_;
  Index n_evaluations_ = 0;
};

// The value is infinite, and nothing else is there, where the residual variance is zero to rounding.
Evaluation Search::evaluate(const Matrix& F, Derivatives derivatives) {
  if (options_.before_evaluation) options_.before_evaluation();
  ++n_evaluations_;
  try {
    Evaluation found = f_.evaluate(F, derivatives);
    require(derivatives == Derivatives::none || found.gradient.size() == blocks_.n_entries(),
            "the blocks are not those of the criterion");
    found.value += f_.constant;
    return found;
  } catch (const NotPositiveDefinite&) {
    Evaluation nothing;
    nothing.value = kInfinity;
    return nothing;
  }
}

double Search::flat_curvature(const Vector& values) const {
  return std::max(1e-13 * values.cwiseAbs().maxCoeff(), 1e-10 * n_);
}

// What a Newton step promises, in the eigenbasis of the Hessian.
double Search::decrement(const Vector& values, const Vector& slopes) const {
  return 0.5 * (slopes.array().square() / values.array().abs().max(flat_curvature(values))).sum();
}

double Search::decrement(const Chart& chart, const Evaluation& here) const {
  const auto [values, vectors] = symmetric_eigen(chart.hessian(here.hessian));
  return decrement(values, vectors.transpose() * chart.gradient(here.gradient));
}

Descent Search::descend(Chart start) {
  Descent at{std::move(start), {}};
  const bool may_switch = f_.first != f_.last;
  const Index most = options_.max_evaluations;
  descend(at, f_.first, may_switch ? std::min(most, n_evaluations_ + kApproximateSteps) : most);
  if (!may_switch || !std::isfinite(at.here.value) || n_evaluations_ >= most) return at;
  if (!at.has_stopped && is_certified(at.here)) return at;
  at.has_stopped = false;
  descend(at, f_.last, most);
  return at;
}

void Search::descend(Descent& at, Derivatives derivatives, Index most_evaluations) {
  at.here = evaluate(at.chart.factor(), derivatives);
  if (!std::isfinite(at.here.value)) return;
  const double rounding = 1e-12 * (std::abs(at.here.value) + n_);
  double radius = 0.5, before = kInfinity;
  while (!blocks_.empty()) {
    const auto [values, vectors] = symmetric_eigen(at.chart.hessian(at.here.hessian));
    const Vector slopes = vectors.transpose() * at.chart.gradient(at.here.gradient);
    at.flattest = (values.array() > kCurved * n_).select(values, kInfinity).minCoeff();
    const double flat = flat_curvature(values), newton = decrement(values, slopes);
    if (values[0] > -flat) {
      const bool is_exact = derivatives == Derivatives::exact_hessian;
      const bool stalled = newton > (is_exact ? 0.05 : 0.5) * before && newton < 1e-13;
      const double least = std::max(is_exact ? options_.tolerance : f_.approximate_tolerance,
                                    options_.certified_tolerance);
      if (stalled || (newton <= least && is_certified(at.here))) break;
    }
    before = newton;
    if (n_evaluations_ >= most_evaluations) {
      at.has_stopped = true;
      break;
    }
    auto [step, predicted] = trust_region_step(values, slopes, radius);
    const bool is_rounding = predicted < rounding;
    if (is_rounding)  // flat directions have nothing to give, and lead far
      step = (values.array() > kCurved * n_).select(step, 0.0);
    const double length = step.norm();
    Chart next = at.chart.moved(vectors * step);
    Evaluation there = evaluate(next.factor(), derivatives);
    const double actual = at.here.value - there.value;
    bool accept;
    double ratio;
    if (is_rounding) {  // values can't tell: gradients do, whatever the scale of each
      accept = actual > -kNoise * rounding && decrement(next, there) < newton;
      ratio = accept ? 1 : 0;
    } else {
      ratio = actual / predicted;
      accept = ratio > 1e-4;
    }
    if (ratio < 0.25)
      radius = 0.25 * length;
    else if (ratio > 0.75 && length > 0.9 * radius)
      radius *= 2;
    if (accept) {
      at.chart = std::move(next);
      at.here = std::move(there);
    } else if (is_rounding || radius < 1e-12) {
      break;
    }
  }
}

void Search::descend_from(Chart chart, Descent& best) {
  Descent found = descend(std::move(chart));
  if (found.here.value < best.here.value) best = std::move(found);
}

// Sets tiny singular values of lambda to zero where that costs no more than rounding.
void Search::round_to_boundary(Descent& best) {
  const Vector& sizes = best.chart.sizes();
  if (!((sizes.array() > 0) && (sizes.array() < kSmall)).any()) return;
  Chart rounded = best.chart.resized((sizes.array() < kSmall).select(0.0, sizes));
  Evaluation there = evaluate(rounded.factor(), f_.first);
  const double value = best.here.value;
  if (!(there.value <= value + 16 * kEps * (std::abs(value) + n_))) return;
  best.chart = std::move(rounded);
  best.here = std::move(there);
}

double Search::min_eigenvalue(const Evaluation& here) const {
  double lowest = blocks_.empty() ? std::numeric_limits<double>::quiet_NaN() : kInfinity;
  for (const TermBlock& b : blocks_) {
    const Matrix gamma = here.gamma.block(b.start, b.start, b.size, b.size);
    lowest = std::min(lowest, symmetric_eigenvalues(gamma)[0]);
  }
  return lowest;
}

// Whether the gradient is zero and no eigenvalue of Gamma negative, up to rounding.
bool Search::is_certified(const Evaluation& here) const {
  if (!(largest(here.gradient) <= kFlat * n_)) return false;
  return blocks_.empty() || min_eigenvalue(here) >= -kNegative * n_;
}

// Directions without curvature, of log lambda where a term's is large.
Index Search::n_flat(const Descent& best) const {
  if (blocks_.empty()) return 0;
  Vector size(best.here.hessian.rows());
  for (const TermBlock& b : blocks_)
    size.segment(b.first_entry, b.size * b.size)
        .setConstant(
            std::max(1.0, best.chart.factor().block(b.start, b.start, b.size, b.size).norm()));
  const Matrix scaled = size.asDiagonal() * best.here.hessian * size.asDiagonal();
  const Vector values = symmetric_eigenvalues(best.chart.hessian(scaled));
  return (values.array().abs() <= kUnidentified * n_).count();
}

// Terms whose lambda can be multiplied by any number: no slope and no curvature that way.
std::vector<Index> Search::unidentified(const Descent& best) const {
  std::vector<Index> found;
  Index term = 0;
  for (const TermBlock& b : blocks_) {
    const Matrix F = best.chart.factor().block(b.start, b.start, b.size, b.size);
    const Eigen::Map<const Vector> f(F.data(), F.size());
    const auto H = best.here.hessian.block(b.first_entry, b.first_entry, f.size(), f.size());
    const double slope = std::abs(f.dot(best.here.gradient.segment(b.first_entry, f.size())));
    const double curvature = std::abs(f.dot(H * f)), size = f.squaredNorm();
    // of log lambda where it is large, of lambda itself where it is small, of T where it is zero
    const double of_T =
        best.here.gamma.block(b.start, b.start, b.size, b.size).cwiseAbs().maxCoeff();
    const double effect = size > 0 ? std::max(slope, curvature) / std::min(1.0, size) : of_T;
    if (effect <= kUnidentified * n_) found.push_back(term);
    ++term;
  }
  return found;
}

// T with its smallest singular value set to zero, where it is a small step; none on the boundary.
std::optional<Chart> Search::nearest_boundary(const Chart& chart) const {
  Vector sizes = chart.sizes();
  Index smallest = -1;
  for (const TermBlock& b : blocks_) {
    const Index last = b.start + b.size - 1;
    if (smallest < 0 || sizes[last] < sizes[smallest]) smallest = last;
  }
  if (smallest < 0 || sizes[smallest] <= kSmall) return std::nullopt;
  sizes[smallest] = 0;
  return chart.resized(sizes);
}

Optimum Search::minimum(const Starts& starts) {
  require(!starts.always.empty(), "there is no start");
  Optimum out;
  Chart first(blocks_, starts.always.front());
  for (const CriterionFunction& sample : f_.samples) {
    Descent found = Search(sample, blocks_, options_).descend(first);
    if (std::isfinite(found.here.value) && !found.has_stopped) first = std::move(found.chart);
  }
  Descent best = descend(std::move(first));
  if (!std::isfinite(best.here.value)) return out;
  if (!best.has_stopped) {
    const std::optional<Chart> nearby = nearest_boundary(best.chart);
    if (nearby &&
        evaluate(nearby->factor(), Derivatives::none).value < best.here.value + kWorthADescent)
      descend_from(*nearby, best);
  }
  const bool is_flat = best.flattest < kFlatMinimum && !best.has_stopped;
  for (std::size_t k = 1; k < starts.always.size(); ++k)
    descend_from(Chart(blocks_, starts.always[k]), best);
  if (is_flat)
    for (const Matrix& start : starts.if_flat) descend_from(Chart(blocks_, start), best);
  round_to_boundary(best);

  out.factor = canonical_factor(blocks_, best.chart.factor());
  out.n_evaluations = n_evaluations_;
  out.gradient = largest(best.here.gradient);
  out.min_eigenvalue = min_eigenvalue(best.here);
  out.unidentified = unidentified(best);
  if (best.has_stopped)
    out.status = Status::stopped;
  else if (blocks_.empty())
    out.status = Status::closed_form;
  else if (!is_certified(best.here))
    out.status = Status::uncertified;
  else
    out.status = (out.factor.diagonal().array() == 0).any() ? Status::singular : Status::optimal;
  if (out.converged()) out.n_flat = n_flat(best);
  out.evaluation = std::move(best.here);
  return out;
}

}  // namespace

Optimum minimize(const CriterionFunction& f, const Blocks& blocks, const Starts& starts,
                 const OptimizerOptions& options) {
  return Search(f, blocks, options).minimum(starts);
}

}  // namespace blocklmm
