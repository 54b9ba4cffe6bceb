#include "partial_sums.hpp"

#include <utility>

#include "covariance_sums.hpp"
#include "errors.hpp"
#include "value_sums.hpp"

namespace blocklmm {

PartialSums::PartialSums(const Statistics& part, Standardization units)
    : units_(std::move(units)), groups_(part, units_, 1) {
  require(part.n_factors() == 1 && part.factor(0).n_random() == units_.q,
          "the effects of one factor");
  units_.n = part.n_rows_used();
}

Vector PartialSums::sums(const Matrix& lambda, const Matrix& N, bool derivatives,
                         int n_threads) const {
  const Index q = units_.q, m = units_.p + 1;
  require(lambda.rows() == q && lambda.cols() == q && N.rows() == m && N.cols() == m,
          "lambda is q x q, N is m x m");
  const ValueSums values = value_sums(groups_, lambda, m, n_threads);
  const Index n_values = 1 + m * (m + 1) / 2;
  Vector out(n_values + (derivatives ? CovarianceSums::size(q, m) : 0));
  Index at = 0;
  out[at++] = values.logdet;
  for (Index i = 0; i < m; ++i)
    for (Index j = 0; j <= i; ++j) out[at++] = values.S(i, j);
  if (derivatives)
    out.tail(out.size() - at) = covariance_sums(groups_, lambda, N, n_threads).values;
  return out;
}

}  // namespace blocklmm
