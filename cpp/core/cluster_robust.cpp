#include "cluster_robust.hpp"

#include <algorithm>
#include <cmath>

#include "decompositions.hpp"
#include "errors.hpp"
#include "parallel.hpp"
#include "singular_vectors.hpp"

namespace blocklmm {
namespace {

constexpr Index kTaskClusters = 64;
constexpr double kAlone = 1e-10;  // 1 - omega of what a cluster alone knows

// Pi for Phi and the diagonal of K.
Matrix adjusted(const Matrix& Phi, const Vector& K, Adjustment adjustment, const Blas& blas) {
  if (adjustment == Adjustment::none || Phi.size() == 0) return Phi;
  const auto [omega, v] = symmetric_eigen(Phi.transpose() * Phi);
  Vector left = (1 - omega.array()).min(1.0);
  left = (left.array() > kAlone).select(left, 0.0);
  const Matrix turned = Phi * v;
  if (adjustment == Adjustment::jackknife) {
    const Vector weight = (left.array() > 0).select(left.cwiseInverse(), 0.0);
    const Matrix weighted = turned * weight.asDiagonal();
    return weighted * v.transpose();
  }
  const Eigen::ArrayXd g = left.array().sqrt();
  const Vector to_G = -(1 + g).inverse();
  const Vector to_inverse = (g > 0).select((g * (1 + g)).inverse(), -1.0);
  const Matrix in_G = turned * to_G.asDiagonal();
  Matrix GK = in_G * turned.transpose();
  GK.diagonal().array() += 1;
  GK *= K.asDiagonal();
  SingularVectors polar = graded_singular_vectors(GK, blas);
  for (Index j = 0; j < K.size(); ++j)
    if (!(polar.s[j] > 0.5 * std::sqrt(kAlone) * K.cwiseProduct(polar.V.col(j)).norm()))
      polar.U.col(j).setZero();
  const Matrix VPhi = polar.V.transpose() * Phi;
  Matrix QPhi = polar.U * VPhi, change = turned.transpose() * QPhi;
  change.array().colwise() *= to_inverse.array();
  QPhi.noalias() += turned * change;
  return QPhi;
}

}  // namespace

void cluster_sums(const ClusterSpans& spans, Index first, Index n, Index z_factor,
                  Adjustment adjustment, const Matrix& contrasts, const ClusterResult& to,
                  int n_threads) {
  require(z_factor >= 0 && z_factor < spans.n_factors(), "a factor's number");
  const Index p = spans.p(), q = spans.q(z_factor), m = q * (p + 1), c = contrasts.cols();
  require(first >= 0 && n >= 0 && first + n <= spans.n_clusters(), "numbers of clusters");
  require(contrasts.rows() == p, "contrasts of the columns of X");
  for_each_task((n + kTaskClusters - 1) / kTaskClusters, n_threads, [&](Index task) {
    ClusterSpan span;
    Matrix Phi, Pi, Pi_a;
    for (Index i = task * kTaskClusters; i < std::min(n, (task + 1) * kTaskClusters); ++i) {
      spans.compute(first + i, z_factor, span);
      const Vector root = span.K.cwiseSqrt();
      Phi = root.cwiseInverse().asDiagonal() * span.X;
      if (to.n_rows) to.n_rows[i] = span.n_rows;
      if (to.square) to.square[i] = span.square;
      if (to.leverage) Eigen::Map<Matrix>(to.leverage + i * p * p, p, p) = Phi.transpose() * Phi;
      if (to.scores || to.variance || to.reach) {
        Pi = adjusted(Phi, span.K, adjustment, spans.blas());
        if (to.scores)
          Eigen::Map<Vector>(to.scores + i * p, p).noalias() =
              Pi.transpose() * root.cwiseProduct(span.u);
        Pi_a.noalias() = Pi * contrasts;
        if (to.variance)
          Eigen::Map<Matrix>(to.variance + i * c * c, c, c).noalias() = Pi_a.transpose() * Pi_a;
        if (to.reach)
          Eigen::Map<Matrix>(to.reach + i * p * c, p, c).noalias() = Phi.transpose() * Pi_a;
      }
      if (!to.A && !to.moments) continue;
      const Matrix F = root.cwiseInverse().asDiagonal() * span.Z;
      Matrix A = Matrix::Zero(q, q), J(q, p + 1), moments = Matrix::Zero(m, m);
      for (Index l = 0; l < F.cols(); l += q) {
        const auto of_level = F.middleCols(l, q);
        A.noalias() += of_level.transpose() * of_level;
        if (!to.moments) continue;
        J.leftCols(p).noalias() = of_level.transpose() * Phi;
        J.col(p).noalias() = span.Z.middleCols(l, q).transpose() * span.u;
        const Eigen::Map<const Vector> vec_J(J.data(), m);
        moments.noalias() += vec_J * vec_J.transpose();
      }
      if (to.A) Eigen::Map<Matrix>(to.A + i * q * q, q, q) = A;
      if (to.moments) Eigen::Map<Matrix>(to.moments + i * m * m, m, m) = moments;
    }
  });
}

}  // namespace blocklmm
