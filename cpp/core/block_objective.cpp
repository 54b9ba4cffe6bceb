#include "block_objective.hpp"

#include <cmath>

#include "covariance_sums.hpp"
#include "criterion_derivatives.hpp"
#include "errors.hpp"
#include "group_batches.hpp"
#include "second_moments.hpp"
#include "value_sums.hpp"

namespace blocklmm {
namespace {

constexpr Index kMostKept = (1 << 20) / sizeof(Lanes);  // of factors: a megabyte

struct DerivativePart {
  explicit DerivativePart(Sizes s)
      : gamma(static_cast<std::size_t>(s.triangle()), Lanes{}),
        curvature(static_cast<std::size_t>(s.triangle() * (s.triangle() + 1) / 2), Lanes{}),
        moments(s.q * s.m) {}
  LaneVector gamma;      // sum (A~ - W), lower triangle by rows
  LaneVector curvature;  // sum (A~ x W + W x A~ - A~ x A~), packed pairs of packed entries
  SecondMoments moments;
};

// N: upper triangular, by columns. is_reml: W takes all of J, or its last column alone. factors:
// those of all groups, or nothing.
template <Index Q, Index M>
BLOCKLMM_CLONES void add_derivatives(const PackedGroups& groups, Index begin, Index end,
                                     const double* lambda, const Lanes* factors, const double* N,
                                     bool is_reml, Sizes sizes, bool is_graded,
                                     DerivativePart& part) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m, h = q * (q + 1) / 2;
  Workspace<Q, M> work(sizes, is_graded);
  Lanes *J = work.J(), *A = work.A(), *W = work.W();
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    const Lanes multiplicity = batch[h + q * m];
    if (factors)
      take_factor(factors + b * factor_size(sizes), sizes, work);
    else
      factor_batch(batch, lambda, sizes, work);
    derive_batch(batch, N, sizes, work);
    for (Index i = 0, at = 0; i < q; ++i)
      for (Index j = 0; j <= i; ++j, ++at) {
        Lanes w{};
        for (Index k = is_reml ? 0 : m - 1; k < m; ++k) w += J[k * q + i] * J[k * q + j];
        W[at] = w;
        part.gamma.data()[at] += multiplicity * A[at] - w;
      }
    for (Index k = 0, at = 0; k < h; ++k)
      for (Index l = 0; l <= k; ++l, ++at)
        part.curvature.data()[at] += A[k] * (W[l] - multiplicity * A[l]) + W[k] * A[l];
    part.moments.add<Q * M>(J);
  }
}

using AddDerivatives = void (*)(const PackedGroups&, Index, Index, const double*, const Lanes*,
                                const double*, bool, Sizes, bool, DerivativePart&);
template <Index Q>
AddDerivatives pick_width(Index m) {
  switch (m) {
    case 2: return add_derivatives<Q, 2>;
    case 3: return add_derivatives<Q, 3>;
    case 4: return add_derivatives<Q, 4>;
    case 5: return add_derivatives<Q, 5>;
    default: return add_derivatives<Q, 0>;
  }
}
AddDerivatives pick(Index q, Index m) {
  switch (q) {
    case 1: return pick_width<1>(m);
    case 2: return pick_width<2>(m);
    case 3: return add_derivatives<3, 0>;
    case 4: return add_derivatives<4, 0>;
    case 5: return add_derivatives<5, 0>;
    case 6: return add_derivatives<6, 0>;
    default: return add_derivatives<0, 0>;
  }
}

}  // namespace

BlockObjective::BlockObjective(const Statistics& statistics, std::vector<Index> x_columns,
                               std::vector<Entry> free_entries, int n_threads)
    : units_(statistics, std::move(x_columns), all_members(statistics)),
      groups_(statistics, units_, n_threads),
      free_(std::move(free_entries)) {
  for (const auto& [row, column] : free_)
    require(0 <= column && column < units_.q && 0 <= row && row < units_.q,
            "a free entry of lambda");
}

std::vector<Index> BlockObjective::samples() const {
  constexpr Index kStep = 16, kFewest = 8;  // tasks, of thousands of groups each
  std::vector<Index> out;
  const Index n_tasks = GroupTasks(groups_).n;
  for (Index every = kStep; n_tasks / every >= kFewest; every *= kStep)
    out.insert(out.begin(), every);
  return out;
}

void BlockObjective::take_response(const Statistics& statistics) {
  units_.take_response(statistics);
  groups_.take_response(statistics, units_);
}

Evaluation BlockObjective::evaluate(const Matrix& lambda, const Criterion& criterion,
                                    bool derivatives, int n_threads, Index every) const {
  const Index q = units_.q, m = units_.p + 1;
  require(lambda.rows() == q && lambda.cols() == q, "lambda is q x q");
  const GroupTasks tasks(groups_, every);
  const double share = tasks.share();
  const auto n = static_cast<Index>(std::llround(share * static_cast<double>(units_.n)));
  const bool is_small = derivatives && tasks.n == 1 &&  // so that factors stay in the cache
                        groups_.n_batches() * factor_size({q, m}) < kMostKept;
  RawLaneVector factors;
  const ValueSums values =
      value_sums(groups_, lambda, m, n_threads, every, is_small ? &factors : nullptr);
  Evaluation result = profiled(share * groups_.within + values.S, values.logdet, n, criterion);
  if (!derivatives) return result;

  const Sizes sizes{q, m};
  const AddDerivatives add = pick(q, m);
  const bool is_graded = loses_digits(lambda);
  const Index h = sizes.triangle(), n_pairs = h * (h + 1) / 2;
  std::vector<DerivativeSums> part_of(static_cast<std::size_t>(tasks.n));
  for_each_task(tasks.n, n_threads, [&](Index task) {
    DerivativePart part(sizes);
    add(groups_, tasks.begin(task), tasks.end(task), lambda.data(),
        is_small ? factors.data() : nullptr, result.N.data(), criterion.reml, sizes, is_graded,
        part);
    DerivativeSums& out = part_of[static_cast<std::size_t>(task)];
    out.gamma.resize(h);
    out.curvature.resize(n_pairs);
    for (Index k = 0; k < h; ++k) out.gamma[k] = lane_sum(part.gamma.data()[k]);
    for (Index k = 0; k < n_pairs; ++k) out.curvature[k] = lane_sum(part.curvature.data()[k]);
    out.moments = part.moments.total();
  });
  const DerivativeSums sums =
      pairwise_total(part_of, {Vector::Zero(h), Vector::Zero(n_pairs), Matrix::Zero(q * m, q * m)});
  set_derivatives(sums, lambda, free_, criterion, n, result);
  return result;
}

CovarianceDerivatives BlockObjective::covariance_derivatives(const Matrix& lambda,
                                                             int n_threads) const {
  const Matrix N = evaluate(lambda, true, false, n_threads).inverse_factor;
  return blocklmm::covariance_derivatives(covariance_sums(groups_, lambda, N, n_threads),
                                          Matrix::Identity(N.rows(), N.rows()), free_);
}

}  // namespace blocklmm
