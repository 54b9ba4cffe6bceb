#include "rank.hpp"

#include <cmath>

namespace blocklmm {

std::vector<Index> independent_columns(const Matrix& cross_products, double tolerance) {
  const Index n = cross_products.rows();
  Matrix R = Matrix::Zero(n, n);  // rows: the columns kept so far
  std::vector<Index> kept;
  for (Index j = 0; j < n; ++j) {
    const auto rank = static_cast<Index>(kept.size());
    const double total = cross_products(j, j);
    const double left = total - R.col(j).head(rank).squaredNorm();
    if (!(total > 0) || !(left > tolerance * total)) continue;
    const double root = std::sqrt(left);
    for (Index k = j; k < n; ++k)
      R(rank, k) = (cross_products(j, k) - R.col(j).head(rank).dot(R.col(k).head(rank))) / root;
    kept.push_back(j);
  }
  return kept;
}

}  // namespace blocklmm
