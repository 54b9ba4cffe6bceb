#include "criterion_derivatives.hpp"

namespace blocklmm {
namespace {

// u'M v' contracted with the packed pairs: sum of A_ij B_kl over the groups, symmetrised.
class PairTensor {
 public:
  explicit PairTensor(const Vector& packed) : packed_(packed) {}
  double operator()(Index i, Index j, Index k, Index l) const {
    const Index a = entry(i, j), b = entry(k, l);
    return a >= b ? packed_[a * (a + 1) / 2 + b] : packed_[b * (b + 1) / 2 + a];
  }

 private:
  static Index entry(Index i, Index j) {
    return i >= j ? i * (i + 1) / 2 + j : j * (j + 1) / 2 + i;
  }
  const Vector& packed_;
};

}  // namespace

void set_derivatives(const DerivativeSums& sums, const Matrix& lambda,
                     const std::vector<Entry>& free_entries, const Criterion& criterion, Index n,
                     Evaluation& result) {
  const Index q = lambda.rows(), m = result.N.rows(), p = m - 1;
  // what profiling sigma out takes from the curvature
  const double through_sigma = criterion.sigma > 0 ? 0 : 1 / criterion.nu(n, p);

  Matrix& gamma = result.gamma;
  gamma.resize(q, q);
  for (Index i = 0, at = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j, ++at) gamma(i, j) = gamma(j, i) = sums.gamma[at];

  // S^_k = -sum J'(e_a l' + l e_a')J with l column b of lambda; vec(J) has J(i, alpha) at alpha q +
  // i
  const auto n_free = static_cast<Index>(free_entries.size());
  Matrix S_hat = Matrix::Zero(m, m * n_free);  // side by side
  for (Index k = 0; k < n_free; ++k) {
    const auto [a, b] = free_entries[static_cast<std::size_t>(k)];
    auto S_k = S_hat.middleCols(k * m, m);
    for (Index j = 0; j < q; ++j)
      for (Index beta = 0; beta < m; ++beta)
        for (Index alpha = 0; alpha <= beta; ++alpha)
          S_k(alpha, beta) -= lambda(j, b) * (sums.moments(alpha * q + a, beta * q + j) +
                                              sums.moments(beta * q + a, alpha * q + j));
    S_k.triangularView<Eigen::StrictlyLower>() = S_k.transpose();
  }

  // tr(M1 x y' M2 u v') = (v'M1 x)(y'M2 u), summed over the two halves of T_k and T_l
  const PairTensor tensor(sums.curvature);
  result.gradient.resize(n_free);
  result.rss_gradient.resize(n_free);
  result.hessian.resize(n_free, n_free);
  const Matrix gamma_lambda = gamma * lambda;
  for (Index k = 0; k < n_free; ++k) {
    const auto [a, b] = free_entries[static_cast<std::size_t>(k)];
    result.gradient[k] = 2 * gamma_lambda(a, b);
    const auto S_k = S_hat.middleCols(k * m, m);
    result.rss_gradient[k] = S_k(p, p);
    for (Index l = 0; l <= k; ++l) {
      const auto [c, d] = free_entries[static_cast<std::size_t>(l)];
      double value = b == d ? 2 * gamma(a, c) : 0.0;
      for (Index i = 0; i < q; ++i)
        for (Index j = 0; j < q; ++j) {
          const double weight = lambda(i, b) * lambda(j, d);
          if (weight != 0)
            value += weight * (tensor(j, a, i, c) + tensor(c, a, i, j) + tensor(j, i, a, c) +
                               tensor(c, i, a, j));
        }
      const auto S_l = S_hat.middleCols(l * m, m);
      if (criterion.reml)
        value -= S_k.topLeftCorner(p, p).cwiseProduct(S_l.topLeftCorner(p, p)).sum();
      value -=
          2 * S_k.col(p).head(p).dot(S_l.col(p).head(p)) + S_k(p, p) * S_l(p, p) * through_sigma;
      result.hessian(k, l) = result.hessian(l, k) = value;
    }
  }
}

}  // namespace blocklmm
