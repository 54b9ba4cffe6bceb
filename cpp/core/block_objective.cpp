#include "block_objective.hpp"

#include <cmath>
#include <numeric>

#include "errors.hpp"
#include "group_batches.hpp"
#include "second_moments.hpp"

namespace blocklmm {
namespace {

struct ValuePart {
  explicit ValuePart(Sizes s) : S(s.m) {}
  Lanes logdet{};
  SecondMoments S;
};

// Q and M: q and m where they are small and known to the compiler, else 0.
template <Index Q, Index M>
BLOCKLMM_CLONES void add_values(const PackedGroups& groups, Index begin, Index end,
                                const double* lambda, Sizes sizes, Workspace& work,
                                ValuePart& part) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  const Index at_multiplicity = q * (q + 1) / 2 + q * m;
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    part.logdet += batch[at_multiplicity] * factor_batch<Q, M>(batch, lambda, sizes, work);
    for (Index i = 0; i < q; ++i) {
      for (Index j = 0; j < m; ++j) work.row[j] = work.G[j * q + i];
      part.S.add<M>(work.row);
    }
  }
}

struct DerivativePart {
  explicit DerivativePart(Sizes s)
      : gamma(static_cast<std::size_t>(s.triangle()), Lanes{}),
        curvature(static_cast<std::size_t>(s.triangle() * (s.triangle() + 1) / 2), Lanes{}),
        moments(s.q * s.m) {}
  LaneVector gamma;      // sum (A~ - W), lower triangle by rows
  LaneVector curvature;  // sum (A~ x W + W x A~ - A~ x A~), packed pairs of packed entries
  SecondMoments moments;
};

// N: upper triangular, by columns. is_reml: W takes all of J, or its last column alone.
template <Index Q, Index M>
BLOCKLMM_CLONES void add_derivatives(const PackedGroups& groups, Index begin, Index end,
                                     const double* lambda, const double* N, bool is_reml,
                                     Sizes sizes, Workspace& work, DerivativePart& part) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m, h = q * (q + 1) / 2;
  Lanes *J = work.J, *A = work.A, *W = work.W;
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    const Lanes multiplicity = batch[h + q * m];
    derive_batch<Q, M>(batch, lambda, N, sizes, work);
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

using AddValues = void (*)(const PackedGroups&, Index, Index, const double*, Sizes, Workspace&,
                           ValuePart&);
using AddDerivatives = void (*)(const PackedGroups&, Index, Index, const double*, const double*,
                                bool, Sizes, Workspace&, DerivativePart&);
struct Kernels {
  AddValues values;
  AddDerivatives derivatives;
};
template <Index Q>
Kernels pick_width(Index m) {
  switch (m) {
    case 2: return {add_values<Q, 2>, add_derivatives<Q, 2>};
    case 3: return {add_values<Q, 3>, add_derivatives<Q, 3>};
    case 4: return {add_values<Q, 4>, add_derivatives<Q, 4>};
    case 5: return {add_values<Q, 5>, add_derivatives<Q, 5>};
    default: return {add_values<Q, 0>, add_derivatives<Q, 0>};
  }
}
Kernels pick_kernels(Index q, Index m) {
  switch (q) {
    case 1: return pick_width<1>(m);
    case 2: return pick_width<2>(m);
    case 3: return {add_values<3, 0>, add_derivatives<3, 0>};
    case 4: return {add_values<4, 0>, add_derivatives<4, 0>};
    case 5: return {add_values<5, 0>, add_derivatives<5, 0>};
    case 6: return {add_values<6, 0>, add_derivatives<6, 0>};
    default: return {add_values<0, 0>, add_derivatives<0, 0>};
  }
}

// u'M v' contracted with the packed pairs: sum of A_ij B_kl over the groups, symmetrised.
class PairTensor {
 public:
  PairTensor(const Vector& packed, Index q) : packed_(packed), q_(q) {}
  double operator()(Index i, Index j, Index k, Index l) const {
    const Index a = entry(i, j), b = entry(k, l);
    return a >= b ? packed_[a * (a + 1) / 2 + b] : packed_[b * (b + 1) / 2 + a];
  }

 private:
  static Index entry(Index i, Index j) {
    return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i;
  }
  const Vector& packed_;
  Index q_;
};

// The rows of lambda are the columns of Z of the only factor, if there is one.
Members all_columns(const Statistics& statistics) {
  require(statistics.n_factors() <= 1, "one factor");
  if (statistics.n_factors() == 0) return {};
  std::vector<Index> rows(static_cast<std::size_t>(statistics.factor(0).n_random()));
  std::iota(rows.begin(), rows.end(), 0);
  return {rows};
}

}  // namespace

BlockObjective::BlockObjective(const Statistics& statistics, std::vector<Index> x_columns,
                               std::vector<Entry> free_entries, int n_threads)
    : units_(statistics, std::move(x_columns), all_columns(statistics)),
      groups_(statistics, units_, n_threads),
      free_(std::move(free_entries)) {
  for (const auto& [row, column] : free_)
    require(0 <= column && column < units_.q && 0 <= row && row < units_.q,
            "a free entry of lambda");
}

std::vector<Index> BlockObjective::samples() const {
  constexpr Index kStep = 16, kFewest = 8;  // tasks, of thousands of groups each
  std::vector<Index> out;
  const Index n_tasks = (groups_.n_batches() + kTaskBatches - 1) / kTaskBatches;
  for (Index every = kStep; n_tasks / every >= kFewest; every *= kStep)
    out.insert(out.begin(), every);
  return out;
}

void BlockObjective::take_response(const Statistics& statistics) {
  std::vector<Index> x_columns = units_.m_columns;
  x_columns.pop_back();
  units_ = Standardization(statistics, std::move(x_columns), all_columns(statistics));
  groups_.take_response(statistics, units_);
}

Evaluation BlockObjective::evaluate(const Matrix& lambda, const Criterion& criterion,
                                    bool derivatives, int n_threads, Index every) const {
  const bool reml = criterion.reml;
  const Index p = units_.p, q = units_.q, m = p + 1;
  require(lambda.rows() == q && lambda.cols() == q, "lambda is q x q");
  const Sizes sizes{q, m};
  const Kernels kernels = pick_kernels(q, m);
  const Index n_batches = groups_.n_batches();
  const Index n_tasks = ((n_batches + kTaskBatches - 1) / kTaskBatches + every - 1) / every;
  const auto begin_of = [&](Index task) { return task * every * kTaskBatches; };
  const auto end_of = [&](Index task) {
    return std::min(n_batches, begin_of(task) + kTaskBatches);
  };
  double share = 1;  // of the groups
  if (every > 1) {
    Index n_taken = 0;
    for (Index task = 0; task < n_tasks; ++task) n_taken += end_of(task) - begin_of(task);
    share = static_cast<double>(n_taken) / static_cast<double>(n_batches);
  }
  const auto n = static_cast<Index>(std::llround(share * static_cast<double>(units_.n)));

  const bool is_graded = loses_digits(lambda);
  std::vector<Matrix> S_of(static_cast<std::size_t>(n_tasks));
  std::vector<double> logdet_of(static_cast<std::size_t>(n_tasks));
  for_each_task(n_tasks, n_threads, [&](Index task) {
    Workspace work(sizes, is_graded);
    ValuePart part(sizes);
    kernels.values(groups_, begin_of(task), end_of(task), lambda.data(), sizes, work, part);
    S_of[static_cast<std::size_t>(task)] = part.S.total();
    logdet_of[static_cast<std::size_t>(task)] = lane_sum(part.logdet);
  });
  Matrix S = Matrix::Zero(m, m);
  double logdet = 0;
  {
    PairwiseSum<Matrix> sum;
    PairwiseSum<double> sum_logdet;
    for (Index task = 0; task < n_tasks; ++task) {
      sum.add(std::move(S_of[static_cast<std::size_t>(task)]));
      sum_logdet.add(logdet_of[static_cast<std::size_t>(task)]);
    }
    S = share * groups_.within + sum.total(Matrix::Zero(m, m));
    logdet = sum_logdet.total(0.0);
  }

  Evaluation result = profiled(S, logdet, n, criterion);
  if (!derivatives) return result;

  const Matrix& N = result.N;
  // what profiling sigma out takes from the curvature
  const double through_sigma = criterion.sigma > 0 ? 0 : 1 / criterion.nu(n, p);
  const Index h = sizes.triangle(), n_pairs = h * (h + 1) / 2;
  std::vector<Vector> packed_of(static_cast<std::size_t>(n_tasks));
  std::vector<Matrix> moments_of(static_cast<std::size_t>(n_tasks));
  for_each_task(n_tasks, n_threads, [&](Index task) {
    Workspace work(sizes, is_graded);
    DerivativePart part(sizes);
    kernels.derivatives(groups_, begin_of(task), end_of(task), lambda.data(), N.data(), reml, sizes,
                        work, part);
    Vector packed(h + n_pairs);
    for (Index k = 0; k < h; ++k) packed[k] = lane_sum(part.gamma.data()[k]);
    for (Index k = 0; k < n_pairs; ++k) packed[h + k] = lane_sum(part.curvature.data()[k]);
    packed_of[static_cast<std::size_t>(task)] = std::move(packed);
    moments_of[static_cast<std::size_t>(task)] = part.moments.total();
  });
  PairwiseSum<Vector> sum_packed;
  PairwiseSum<Matrix> sum_moments;
  for (Index task = 0; task < n_tasks; ++task) {
    sum_packed.add(std::move(packed_of[static_cast<std::size_t>(task)]));
    sum_moments.add(std::move(moments_of[static_cast<std::size_t>(task)]));
  }
  const Vector packed = sum_packed.total(Vector::Zero(h + n_pairs));
  const Matrix moments = sum_moments.total(Matrix::Zero(q * m, q * m));

  Matrix& gamma = result.gamma;
  gamma.resize(q, q);
  for (Index i = 0, at = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j, ++at) gamma(i, j) = gamma(j, i) = packed[at];

  // S^_k = -sum J'(e_a l' + l e_a')J with l column b of lambda; vec(J) has J(i, alpha) at alpha q +
  // i
  const auto n_free = static_cast<Index>(free_.size());
  std::vector<Matrix> S_hat;
  for (const auto& [a, b] : free_) {
    Matrix half = Matrix::Zero(m, m);
    for (Index j = 0; j < q; ++j)
      for (Index beta = 0; beta < m; ++beta)
        for (Index alpha = 0; alpha < m; ++alpha)
          half(alpha, beta) -= lambda(j, b) * moments(alpha * q + a, beta * q + j);
    S_hat.push_back(half + half.transpose());
  }

  // tr(M1 x y' M2 u v') = (v'M1 x)(y'M2 u), summed over the two halves of T_k and T_l
  const Vector pairs = packed.tail(n_pairs);
  const PairTensor tensor(pairs, q);
  result.gradient.resize(n_free);
  result.rss_gradient.resize(n_free);
  result.hessian.resize(n_free, n_free);
  const Matrix gamma_lambda = gamma * lambda;
  for (Index k = 0; k < n_free; ++k) {
    const auto [a, b] = free_[static_cast<std::size_t>(k)];
    result.gradient[k] = 2 * gamma_lambda(a, b);
    result.rss_gradient[k] = S_hat[static_cast<std::size_t>(k)](p, p);
    for (Index l = 0; l <= k; ++l) {
      const auto [c, d] = free_[static_cast<std::size_t>(l)];
      double value = b == d ? 2 * gamma(a, c) : 0.0;
      for (Index i = 0; i < q; ++i)
        for (Index j = 0; j < q; ++j) {
          const double weight = lambda(i, b) * lambda(j, d);
          if (weight != 0)
            value += weight * (tensor(j, a, i, c) + tensor(c, a, i, j) + tensor(j, i, a, c) +
                               tensor(c, i, a, j));
        }
      const Matrix &S_k = S_hat[static_cast<std::size_t>(k)],
                   &S_l = S_hat[static_cast<std::size_t>(l)];
      if (reml) value -= S_k.topLeftCorner(p, p).cwiseProduct(S_l.topLeftCorner(p, p)).sum();
      value -=
          2 * S_k.col(p).head(p).dot(S_l.col(p).head(p)) + S_k(p, p) * S_l(p, p) * through_sigma;
      result.hessian(k, l) = result.hessian(l, k) = value;
    }
  }
  return result;
}

}  // namespace blocklmm
