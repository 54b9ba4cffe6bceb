#include "modes.hpp"

#include <limits>

#include "decompositions.hpp"
#include "errors.hpp"

namespace blocklmm {
namespace {

void require_matching(const Statistics& statistics, const Standardization& units) {
  require(statistics.n_factors() == 1 && statistics.factor(0).n_random() == units.q &&
              statistics.n_columns() == units.m_columns.back() + 1 &&
              statistics.n_rows_used() == units.n,
          "the statistics are not those of the objective");
}

}  // namespace

void conditional_modes(const Statistics& statistics, const Standardization& units,
                       const ModesRequest& request, const Index* groups, Index n_groups,
                       const ModesResult& to) {
  const Index q = units.q, p = units.p;
  require_matching(statistics, units);
  const Matrix& lambda = request.lambda;
  require(lambda.rows() == q && lambda.cols() == q && request.basis.rows() == q &&
              request.basis.cols() == q && request.inverse_factor.rows() == p + 1,
          "shapes of lambda, basis and R_S^-1");
  // e = (-beta; 1), and N_X N_X' = S_XX^-1
  const Vector e = request.inverse_factor.col(p) / request.inverse_factor(p, p);
  const Matrix N_X = request.inverse_factor.topLeftCorner(p, p);
  const Matrix identity = Matrix::Identity(q, q);
  const Matrix transposed = (request.basis * lambda).transpose();
  const Matrix from_user = inverse(request.basis);
  GroupFactors group(statistics, units);
  Matrix U(q, q), RL(q, q), half(q, q), right(q, p + 1), data(q, p + 1), spread(q, p);
  for (Index k = 0; k < n_groups; ++k) {
    require(groups[k] >= 0 && groups[k] < statistics.n_groups(), "a group's number");
    group.compute(groups[k]);
    group.Y.col(p) += group.explained;
    // T D~ = lambda (I + (R lambda)'(R lambda))^-1 (R lambda)'Y, by Cholesky U'U of the middle
    RL.noalias() = group.R * lambda;
    U = identity + RL.transpose() * RL;
    const Eigen::LLT<Matrix> factor(U);
    half = factor.matrixL().solve(transposed);  // L^-1 (basis lambda)'
    right.noalias() = RL.transpose() * group.Y;
    factor.matrixL().solveInPlace(right);
    data.noalias() = half.transpose() * right;
    if (to.modes) Eigen::Map<Vector>(to.modes + k * q, q).noalias() = data * e;
    if (to.own) {
      const Vector Ye = group.Y * e;
      const bool full = group.R.diagonal().minCoeff() > 0;
      Eigen::Map<Vector> own(to.own + k * q, q);
      if (full)
        own.noalias() = request.basis * Vector(group.R.triangularView<Eigen::Upper>().solve(Ye));
      else
        own.setConstant(std::numeric_limits<double>::quiet_NaN());
    }
    if (to.weight) {
      Matrix reached = RL.transpose() * group.R;
      factor.matrixL().solveInPlace(reached);
      const Matrix share = half.transpose() * reached;
      Eigen::Map<Vector>(to.weight + k * q, q) =
          share.cwiseProduct(from_user.transpose()).rowwise().sum();
    }
    if (!to.conditional && !to.prediction && !to.cross) continue;
    Matrix variance = half.transpose() * half;
    if (to.conditional) Eigen::Map<Matrix>(to.conditional + k * q * q, q, q) = variance;
    if (!to.prediction && !to.cross) continue;
    spread.noalias() = data.leftCols(p) * N_X;
    if (to.prediction) {
      variance.noalias() += spread * spread.transpose();
      Eigen::Map<Matrix>(to.prediction + k * q * q, q, q) = variance;
    }
    if (to.cross) Eigen::Map<Matrix>(to.cross + k * q * p, q, p) = spread;
  }
}

Matrix own_fits(const Statistics& statistics, const Standardization& units) {
  require_matching(statistics, units);
  Matrix fits(units.q, statistics.n_groups());
  GroupFactors group(statistics, units);
  for (Index i = 0; i < statistics.n_groups(); ++i) {
    group.compute(i);
    fits.col(i) = group.own_fit();
  }
  return fits;
}

}  // namespace blocklmm
