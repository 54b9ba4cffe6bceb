#include "sparse_tangent.hpp"

#include <algorithm>

namespace blocklmm {
namespace {

Matrix full(const TiledMatrix& tiles) {
  const Index n = tiles.size();
  Matrix out(n, n);
  for (Index j = 0; j < n; ++j)
    for (Index i = j; i < n; ++i) out(i, j) = out(j, i) = tiles.at(i, j);
  return out;
}

// dA~0 of a level and dQ, see sparse_tangent.hpp.
Matrix change_of_A(const Matrix& P, const Matrix& dA, const Matrix& A0, const Matrix& dT) {
  return P * dA * P.transpose() - A0 * dT * A0;
}
Matrix change_of_Q(const Matrix& T, const Matrix& dT, const Matrix& A_tilde,
                   const Matrix& dA_tilde) {
  const Matrix half = dT * A_tilde * T;
  return dT - half - half.transpose() - T * dA_tilde * T;
}
Matrix change_of_leaf(const Matrix& A0, const Matrix& dT, const Matrix& taken) {
  const Matrix half = A0 * dT, from_dE = half * taken;
  return from_dE + from_dE.transpose() - half * A0;
}

}  // namespace

SparseTangent::SparseTangent(const SparseFactor& factor, const Blas& blas)
    : factor_(factor),
      blas_(blas),
      dA_(factor.plan_, blas),
      dQ_(factor.plan_, blas),
      Q_dense_(full(factor.Q_.dense())) {
  if (!factor.unscaled_) return;
  const Matrix A = full(*factor.unscaled_);
  P_dense_ = Matrix::Identity(A.rows(), A.cols()) - product(A, Q_dense_);
  A_tilde_ = product(P_dense_, A);
}

Matrix SparseTangent::product(const Matrix& A, const Matrix& B, bool transposed) const {
  char op = transposed ? 'T' : 'N', plain = 'N';
  int side = static_cast<int>(A.rows());
  double one = 1, zero = 0;
  Matrix out(A.rows(), A.cols());
  blas_.gemm(&op, &plain, &side, &side, &side, &one, const_cast<double*>(A.data()), &side,
             const_cast<double*>(B.data()), &side, &zero, out.data(), &side);
  return out;
}

std::vector<Matrix> SparseTangent::along(Index factor, const Matrix& dT) {
  const SparseFactor& self = factor_;
  std::vector<Matrix> sums;
  for (const Prior& prior : self.priors_)
    sums.push_back(Matrix::Zero(prior.lambda.rows(), prior.lambda.cols()));
  std::vector<double> E, X, G;
  const auto make_room = [&](Index size) {
    for (std::vector<double>* rows : {&E, &X, &G})
      if (static_cast<Index>(rows->size()) < size) rows->resize(static_cast<std::size_t>(size));
  };

  const Matrix half_dT = 0.5 * dT;
  dA_.set_zero();
  const bool of_leaves = factor == self.plan_.leaf;
  const Prior& leaf_prior = self.priors_[static_cast<std::size_t>(self.plan_.leaf)];
  if (of_leaves)
    self.over_leaves([&](auto& eliminator, Index, const Level& level) {
      make_room(level.n_rows * eliminator.q);
      eliminator.multiply_rows(eliminator.P(level, leaf_prior), level.B, level.n_rows, E.data());
      eliminator.multiply_rows(half_dT, E.data(), level.n_rows, G.data());
      eliminator.subtract_mixed(level, E.data(), G.data(), dA_);
    });
  self.over_nodes(false, [&](auto& eliminator, std::size_t k, const Level& level) {
    const Index q = eliminator.q, size = level.n_rows * q;
    const Prior& prior = self.prior_of(k);
    make_room(size);
    eliminator.multiply_rows(eliminator.P(level, prior), level.B, level.n_rows, E.data());
    eliminator.multiply_rows(prior.T, E.data(), level.n_rows, X.data());
    const Matrix half_dA = -0.5 * Eigen::Map<const Matrix>(dA_.square(k), q, q);
    eliminator.multiply_rows(half_dA, X.data(), level.n_rows, G.data());
    for (Index r = 0; r < size; ++r) G[static_cast<std::size_t>(r)] += dA_.rows(k)[r];
    eliminator.subtract_mixed(level, X.data(), G.data(), dA_);
    if (self.plan_.nodes[k].factor != factor) return;
    eliminator.multiply_rows(half_dT, E.data(), level.n_rows, G.data());
    eliminator.subtract_mixed(level, E.data(), G.data(), dA_);
  });

  dQ_.set_zero();
  if (self.unscaled_)
    at_irregular_end(factor, dT, sums);
  else if (self.plan_.n_dense() > 0)
    at_dense_end(factor, dT, sums);

  self.over_nodes(true, [&](auto& eliminator, std::size_t k, const Level& level) {
    const Index q = eliminator.q, n = level.n_rows, size = n * q;
    const Prior& prior = self.prior_of(k);
    make_room(size);
    const Matrix P = eliminator.P(level, prior), A0 = eliminator.reduced(level, P);
    const bool is_own = self.plan_.nodes[k].factor == factor;
    const Matrix own_dT = is_own ? dT : Matrix(Matrix::Zero(q, q));
    const Matrix dA = Eigen::Map<const Matrix>(dA_.square(k), q, q);
    // V = Q_rr E', then dE, then dV = dQ_rr E' + Q_rr dE'
    const Matrix S = eliminator.template quadratic<true>(level, P, self.Q_);
    const std::vector<double> own(eliminator.E(), eliminator.E() + size);
    const std::vector<double> V(eliminator.V(level), eliminator.V(level) + size);
    const Matrix A_tilde = A0 - S;
    std::vector<double> dE(static_cast<std::size_t>(size)), dV(dE);
    eliminator.multiply_rows(prior.T, own.data(), n, X.data());
    eliminator.multiply_rows(-dA, X.data(), n, G.data());
    for (Index r = 0; r < size; ++r) G[static_cast<std::size_t>(r)] += dA_.rows(k)[r];
    eliminator.multiply_rows(P, G.data(), n, dE.data());
    eliminator.multiply_rows(A0 * own_dT, own.data(), n, G.data());
    for (Index r = 0; r < size; ++r)
      dE[static_cast<std::size_t>(r)] -= G[static_cast<std::size_t>(r)];
    eliminator.multiply(level, own.data(), dQ_, dV.data());
    const Matrix from_dQ = eliminator.product_of_rows(own.data(), dV.data(), n);
    eliminator.multiply(level, dE.data(), self.Q_, G.data());
    for (Index r = 0; r < size; ++r)
      dV[static_cast<std::size_t>(r)] += G[static_cast<std::size_t>(r)];
    const Matrix from_dE = eliminator.product_of_rows(dE.data(), V.data(), n);
    const Matrix dA_tilde =
        change_of_A(P, dA, A0, own_dT) - from_dE - from_dE.transpose() - from_dQ;
    sums[static_cast<std::size_t>(self.plan_.nodes[k].factor)] += dA_tilde;
    Eigen::Map<Matrix>(dQ_.square(k), q, q) = change_of_Q(prior.T, own_dT, A_tilde, dA_tilde);
    eliminator.multiply_rows(-prior.T, dV.data(), n, dQ_.rows(k));
    eliminator.multiply_rows(-own_dT, V.data(), n, G.data());
    for (Index r = 0; r < size; ++r) dQ_.rows(k)[r] += G[static_cast<std::size_t>(r)];
  });

  Matrix& leaf_sum = sums[static_cast<std::size_t>(self.plan_.leaf)];
  self.over_leaves([&](auto& eliminator, Index, const Level& level) {
    const auto P = eliminator.P(level, leaf_prior);
    eliminator.add(-eliminator.template quadratic<false>(level, P, dQ_), leaf_sum.data());
    if (!of_leaves) return;
    const Matrix A0 = eliminator.reduced(level, P);
    leaf_sum += change_of_leaf(A0, dT, eliminator.template quadratic<false>(level, P, self.Q_));
  });
  for (Matrix& sum : sums) sum = (0.5 * (sum + sum.transpose())).eval();
  return sums;
}

void SparseTangent::at_dense_end(Index factor, const Matrix& dT, std::vector<Matrix>& sums) {
  const SparseFactor& self = factor_;
  const Index n = self.plan_.n_dense();
  Matrix M = -full(dA_.dense());
  Matrix in_T;  // T^-1 dT T^-1
  if (factor != self.plan_.leaf) {
    const Matrix& inverse_T = self.priors_[static_cast<std::size_t>(factor)].inverse_T;
    in_T = inverse_T * dT * inverse_T;
    self.over_dense_levels([&](Index f, Index, Index v) {
      if (f == factor) M.block(v, v, in_T.rows(), in_T.cols()) += in_T;
    });
  }
  const Matrix change = product(product(Q_dense_, M), Q_dense_);
  for (Index j = 0; j < n; ++j)
    for (Index i = j; i < n; ++i) dQ_.dense().at(i, j) = 0.5 * (change(i, j) + change(j, i));
  self.over_dense_levels([&](Index f, Index, Index v) {
    const Matrix& inverse_T = self.priors_[static_cast<std::size_t>(f)].inverse_T;
    const Index q = inverse_T.rows();
    Matrix dA_tilde = -inverse_T * change.block(v, v, q, q) * inverse_T;
    if (f == factor) {
      const Matrix half = in_T * Q_dense_.block(v, v, q, q) * inverse_T;
      dA_tilde += half + half.transpose() - in_T;
    }
    sums[static_cast<std::size_t>(f)] += dA_tilde;
  });
}

void SparseTangent::at_irregular_end(Index factor, const Matrix& dT, std::vector<Matrix>& sums) {
  const SparseFactor& self = factor_;
  const Index n = self.plan_.n_dense();
  const Matrix dA = full(dA_.dense()), PdA = product(P_dense_, dA);
  Matrix change = -product(product(Q_dense_, dA), Q_dense_);
  Matrix dT_A_tilde = Matrix::Zero(n, n);
  if (factor != self.plan_.leaf) {
    Matrix dT_P = Matrix::Zero(n, n);
    self.over_dense_levels([&](Index f, Index, Index v) {
      if (f != factor) return;
      dT_P.middleRows(v, dT.rows()) = dT * P_dense_.middleRows(v, dT.rows());
      dT_A_tilde.middleRows(v, dT.rows()) = dT * A_tilde_.middleRows(v, dT.rows());
    });
    change += product(P_dense_, dT_P, true);
  }
  for (Index j = 0; j < n; ++j)
    for (Index i = j; i < n; ++i) dQ_.dense().at(i, j) = 0.5 * (change(i, j) + change(j, i));
  self.over_dense_levels([&](Index f, Index, Index v) {
    Matrix& sum = sums[static_cast<std::size_t>(f)];
    const Index q = sum.rows();
    sum += PdA.middleRows(v, q) * P_dense_.middleRows(v, q).transpose() -
           A_tilde_.middleRows(v, q) * dT_A_tilde.middleCols(v, q);
  });
}

}  // namespace blocklmm
