#include "modes.hpp"

#include "errors.hpp"

namespace blocklmm {

void conditional_modes(const Statistics& statistics, const Standardization& units,
                       const ModesRequest& request, const Index* groups, Index n_groups,
                       double* modes, double* conditional, double* prediction, double* cross) {
  const Index q = units.q, p = units.p;
  const Matrix& lambda = request.lambda;
  require(lambda.rows() == q && lambda.cols() == q && request.basis.rows() == q &&
              request.basis.cols() == q && request.inverse_factor.rows() == p + 1,
          "shapes of lambda, basis and R_S^-1");
  // e = (-beta; 1), and N_X N_X' = S_XX^-1
  const Vector e = request.inverse_factor.col(p) / request.inverse_factor(p, p);
  const Matrix N_X = request.inverse_factor.topLeftCorner(p, p);
  const Matrix identity = Matrix::Identity(q, q), basis_lambda = request.basis * lambda;
  GroupFactors group(statistics, units);
  Matrix U(q, q), RL(q, q), half(q, q), data(q, p + 1), spread(q, p);
  for (Index k = 0; k < n_groups; ++k) {
    require(groups[k] >= 0 && groups[k] < statistics.n_groups(), "a group's number");
    group.compute(groups[k]);
    // T D~ = lambda (I + (R lambda)'(R lambda))^-1 (R lambda)'Y, by Cholesky U'U of the middle
    RL.noalias() = group.R * lambda;
    U = identity + RL.transpose() * RL;
    const Eigen::LLT<Matrix> factor(U);
    half = factor.matrixL().solve(basis_lambda.transpose());  // L^-1 (basis lambda)'
    data.noalias() = half.transpose() * factor.matrixL().solve(RL.transpose() * group.Y);
    if (modes) Eigen::Map<Vector>(modes + k * q, q).noalias() = data * e;
    Matrix variance = half.transpose() * half;
    if (conditional) Eigen::Map<Matrix>(conditional + k * q * q, q, q) = variance;
    if (!prediction && !cross) continue;
    spread.noalias() = data.leftCols(p) * N_X;
    if (prediction) {
      variance.noalias() += spread * spread.transpose();
      Eigen::Map<Matrix>(prediction + k * q * q, q, q) = variance;
    }
    if (cross) Eigen::Map<Matrix>(cross + k * q * p, q, p) = spread;
  }
}

}  // namespace blocklmm
