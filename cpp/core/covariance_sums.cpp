#include "covariance_sums.hpp"

#include "errors.hpp"
#include "group_batches.hpp"

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
                                     bool is_graded, CovariancePart& part) {
  const Index q = Q ? Q : sizes.q, m = sizes.m, h = q * (q + 1) / 2;
  Workspace<Q, 0> work(sizes, is_graded);
  const Lanes *J = work.J(), *A = work.A();
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    const Lanes multiplicity = batch[h + q * m];
    factor_batch(batch, lambda, sizes, work);
    derive_batch(batch, N, sizes, work);
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
                                Sizes, bool, CovariancePart&);
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
Index triangle(Index n) { return n * (n + 1) / 2; }

// The terms e_x e_y' of dT_k = e_a e_b' + e_b e_a'.
std::vector<Entry> halves(Entry direction) {
  const auto [a, b] = direction;
  if (a == b) return {{a, a}};
  return {{a, b}, {b, a}};
}

}  // namespace

CovarianceSums::CovarianceSums(Index q_, Index m_, Vector values_)
    : q(q_), m(m_), values(std::move(values_)) {
  require(values.size() == size(q, m), "the sums of q random effects and m columns");
}

Index CovarianceSums::size(Index q, Index m) {
  const Index h = triangle(q), moments = triangle(q * m);
  return h + triangle(h) + moments + h * moments;
}

double CovarianceSums::A(Index i, Index j) const { return values[packed(i, j)]; }

double CovarianceSums::A_pairs(Index i, Index j, Index k, Index l) const {
  return values[triangle(q) + packed(packed(i, j), packed(k, l))];
}

Matrix CovarianceSums::moments() const {
  const Index h = triangle(q), n = q * m, start = h + triangle(h);
  Matrix out(n, n);
  for (Index i = 0, at = start; i < n; ++i)
    for (Index j = 0; j <= i; ++j) out(i, j) = out(j, i) = values[at++];
  return out;
}

Matrix CovarianceSums::A_moments(Index a, Index b) const {
  const Index h = triangle(q), n = q * m, k = packed(a, b);
  const Index start = h + triangle(h) + triangle(n);
  Matrix out(n, n);
  for (Index i = 0, at = start + k; i < n; ++i)
    for (Index j = 0; j <= i; ++j, at += h) out(i, j) = out(j, i) = values[at];
  return out;
}

CovarianceSums covariance_sums(const PackedGroups& groups, const Matrix& lambda, const Matrix& N,
                               int n_threads) {
  const Sizes sizes{lambda.rows(), N.rows()};
  const AddCovariances add = pick(sizes.q);
  const GroupTasks tasks(groups);
  const Index size = CovarianceSums::size(sizes.q, sizes.m);
  const bool is_graded = loses_digits(lambda);
  std::vector<Vector> sum_of(static_cast<std::size_t>(tasks.n));
  for_each_task(tasks.n, n_threads, [&](Index task) {
    CovariancePart part(sizes);
    add(groups, tasks.begin(task), tasks.end(task), lambda.data(), N.data(), sizes, is_graded,
        part);
    Vector sum(size);
    Index at = 0;
    for (const LaneVector* lanes : {&part.A, &part.A_pairs, &part.moments, &part.A_moments})
      for (const Lanes& x : *lanes) sum[at++] = lane_sum(x);
    sum_of[static_cast<std::size_t>(task)] = std::move(sum);
  });
  return {sizes.q, sizes.m, pairwise_total<Vector>(sum_of, Vector::Zero(size))};
}

Matrix moments_in_basis(const Matrix& moments, const Matrix& K, Index q) {
  const Index m = K.rows();
  Matrix from_right = Matrix::Zero(q * m, q * m), out = from_right;
  for (Index beta = 0; beta < m; ++beta)
    for (Index b = 0; b < m; ++b)
      from_right.middleCols(beta * q, q) += K(b, beta) * moments.middleCols(b * q, q);
  for (Index alpha = 0; alpha < m; ++alpha)
    for (Index a = 0; a < m; ++a)
      out.middleRows(alpha * q, q) += K(a, alpha) * from_right.middleRows(a * q, q);
  return out;
}

CovarianceDerivatives covariance_derivatives(const CovarianceSums& sums, const Matrix& K,
                                             const std::vector<Entry>& free_entries) {
  const Index q = sums.q, m = sums.m;
  // M(alpha, beta) of rows x and v: J(x, alpha) J(v, beta)
  const auto of_rows = [&](const Matrix& moments, Index x, Index v) {
    Matrix out(m, m);
    for (Index alpha = 0; alpha < m; ++alpha)
      for (Index beta = 0; beta < m; ++beta)
        out(alpha, beta) = moments(alpha * q + x, beta * q + v);
    return out;
  };
  const Matrix moments = moments_in_basis(sums.moments(), K, q);
  std::vector<Matrix> A_moments(static_cast<std::size_t>(triangle(q)));
  for (Index i = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j)
      A_moments[static_cast<std::size_t>(packed(i, j))] =
          moments_in_basis(sums.A_moments(i, j), K, q);

  CovarianceDerivatives out;
  for (const auto& [a, b] : free_entries)
    if (a <= b) out.directions.emplace_back(a, b);
  const auto n = static_cast<Index>(out.directions.size());
  out.traces.resize(n);
  out.trace_pairs.resize(n, n);
  for (Index k = 0; k < n; ++k) {
    const Entry direction = out.directions[static_cast<std::size_t>(k)];
    out.traces[k] = 0;
    Matrix S = Matrix::Zero(m, m);
    for (const auto& [x, y] : halves(direction)) {
      out.traces[k] += sums.A(x, y);
      S -= of_rows(moments, x, y);
    }
    out.S.push_back(std::move(S));
    for (Index l = 0; l < n; ++l) {
      Matrix Q = Matrix::Zero(m, m);
      double pairs = 0;
      for (const auto& [x, y] : halves(direction))
        for (const auto& [u, v] : halves(out.directions[static_cast<std::size_t>(l)])) {
          // (J'e_x)(e_y'A~ e_u)(e_v'J) and tr(A~ e_x e_y'A~ e_u e_v')
          pairs += sums.A_pairs(v, x, y, u);
          Q += of_rows(A_moments[static_cast<std::size_t>(packed(y, u))], x, v);
        }
      out.Q.push_back(std::move(Q));
      out.trace_pairs(k, l) = pairs;
    }
  }
  return out;
}

}  // namespace blocklmm
