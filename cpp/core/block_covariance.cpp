#include "block_objective.hpp"
#include "errors.hpp"
#include "group_batches.hpp"

// The sums of covariance_derivatives.hpp over groups, from three of them: A~_i, vec(J_i)vec(J_i)'
// weighted with the entries of A~_i, and products of entries of A~_i.

namespace blocklmm {
namespace {

struct CovariancePart {
  CovariancePart(Sizes s)
      : A(static_cast<std::size_t>(s.triangle()), Lanes{}),
        A_pairs(static_cast<std::size_t>(s.triangle() * (s.triangle() + 1) / 2), Lanes{}),
        moments(static_cast<std::size_t>(s.q * s.m * (s.q * s.m + 1) / 2), Lanes{}),
        A_moments(static_cast<std::size_t>(s.triangle()) * moments.size(), Lanes{}) {}
  LaneVector A;          // sum A~, lower triangle by rows
  LaneVector A_pairs;    // sum A~ x A~, packed pairs of packed entries
  LaneVector moments;    // sum vec(J) vec(J)', lower triangle by rows
  LaneVector A_moments;  // the same times each entry of A~
};

template <Index Q>
BLOCKLMM_CLONES void add_covariances(const PackedGroups& groups, Index begin, Index end,
                                     const double* lambda, const double* N, Sizes sizes,
                                     Workspace& work, CovariancePart& part) {
  const Index q = Q ? Q : sizes.q, m = sizes.m, h = q * (q + 1) / 2;
  const Lanes *J = work.J, *A = work.A;
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    const Lanes multiplicity = batch[h + q * m];
    derive_batch<Q>(batch, lambda, N, sizes, work);
    for (Index k = 0, at = 0; k < h; ++k) {
      part.A.data()[k] += multiplicity * A[k];
      for (Index l = 0; l <= k; ++l, ++at) part.A_pairs.data()[at] += multiplicity * A[k] * A[l];
    }
    for (Index i = 0, at = 0; i < q * m; ++i)
      for (Index j = 0; j <= i; ++j, ++at) {
        const Lanes product = J[i] * J[j];
        part.moments.data()[at] += product;
        for (Index k = 0; k < h; ++k) part.A_moments.data()[at * h + k] += A[k] * product;
      }
  }
}

using AddCovariances = void (*)(const PackedGroups&, Index, Index, const double*, const double*,
                                Sizes, Workspace&, CovariancePart&);
AddCovariances pick(Index q) {
  switch (q) {
    case 1: return add_covariances<1>;
    case 2: return add_covariances<2>;
    case 3: return add_covariances<3>;
    case 4: return add_covariances<4>;
    default: return add_covariances<0>;
  }
}

Index packed(Index i, Index j) { return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i; }

// The terms e_x e_y' of dT_k = e_a e_b' + e_b e_a'.
std::vector<Entry> halves(Entry direction) {
  const auto [a, b] = direction;
  if (a == b) return {{a, a}};
  return {{a, b}, {b, a}};
}

}  // namespace

CovarianceDerivatives BlockObjective::covariance_derivatives(const Matrix& lambda,
                                                             int n_threads) const {
  const Index q = units_.q, m = units_.p + 1;
  const Matrix N = evaluate(lambda, true, false, n_threads).inverse_factor;
  const Sizes sizes{q, m};
  const AddCovariances add = pick(q);
  const Index n_batches = groups_.n_batches();
  const Index n_tasks = (n_batches + kTaskBatches - 1) / kTaskBatches;
  const CovariancePart shape(sizes);
  const Index size = static_cast<Index>(shape.A.size() + shape.A_pairs.size() +
                                        shape.moments.size() + shape.A_moments.size());
  const bool is_graded = loses_digits(lambda);
  std::vector<Vector> sum_of(static_cast<std::size_t>(n_tasks));
  for_each_task(n_tasks, n_threads, [&](Index task) {
    Workspace work(sizes, is_graded);
    CovariancePart part(sizes);
    add(groups_, task * kTaskBatches, std::min(n_batches, (task + 1) * kTaskBatches), lambda.data(),
        N.data(), sizes, work, part);
    Vector sum(size);
    Index at = 0;
    for (const LaneVector* lanes : {&part.A, &part.A_pairs, &part.moments, &part.A_moments})
      for (const Lanes& x : *lanes) sum[at++] = lane_sum(x);
    sum_of[static_cast<std::size_t>(task)] = std::move(sum);
  });
  PairwiseSum<Vector> total;
  for (Vector& sum : sum_of) total.add(std::move(sum));
  const Vector sums = total.total(Vector::Zero(size));
  const double* A = sums.data();
  const double* A_pairs = A + shape.A.size();
  const double* moments = A_pairs + shape.A_pairs.size();
  const double* A_moments = moments + shape.moments.size();
  const Index h = sizes.triangle();

  CovarianceDerivatives out;
  for (const auto& [a, b] : free_)
    if (a <= b) out.directions.emplace_back(a, b);
  const auto n = static_cast<Index>(out.directions.size());
  out.traces.resize(n);
  out.trace_pairs.resize(n, n);
  for (Index k = 0; k < n; ++k) {
    const Entry direction = out.directions[static_cast<std::size_t>(k)];
    out.traces[k] = 0;
    Matrix S = Matrix::Zero(m, m);
    for (const auto& [x, y] : halves(direction)) {
      out.traces[k] += A[packed(x, y)];
      for (Index alpha = 0; alpha < m; ++alpha)
        for (Index beta = 0; beta < m; ++beta)
          S(alpha, beta) -= moments[packed(alpha * q + x, beta * q + y)];
    }
    out.S.push_back(std::move(S));
    for (Index l = 0; l < n; ++l) {
      Matrix Q = Matrix::Zero(m, m);
      double pairs = 0;
      for (const auto& [x, y] : halves(direction))
        for (const auto& [u, v] : halves(out.directions[static_cast<std::size_t>(l)])) {
          // (J'e_x)(e_y'A~ e_u)(e_v'J) and tr(A~ e_x e_y'A~ e_u e_v')
          pairs += A_pairs[packed(packed(v, x), packed(y, u))];
          for (Index alpha = 0; alpha < m; ++alpha)
            for (Index beta = 0; beta < m; ++beta)
              Q(alpha, beta) += A_moments[packed(alpha * q + x, beta * q + v) * h + packed(y, u)];
        }
      out.Q.push_back(std::move(Q));
      out.trace_pairs(k, l) = pairs;
    }
  }
  return out;
}

}  // namespace blocklmm
