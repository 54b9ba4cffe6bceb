#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "covariance_derivatives.hpp"
#include "group_factors.hpp"
#include "modes.hpp"
#include "moment_equations.hpp"
#include "sparse_factor.hpp"

// The profiled criterion of a model with several grouping factors, in the units of
// Standardization, with its exact gradient and an exact or approximate Hessian (MATH: Bates et al.
// 2015, sec. 3; Gilmour, Thompson & Cullis 1995).
//
// The elimination of the random effects (sparse_factor.hpp) gives log|V|, S = M'V^-1M, and for each
// factor t, with D~ = Z't V^-1 M, A~ the blocks of Z_t'V^-1 Z_t and G_S as in block_objective.hpp,
//
//     Gamma_t = sum over levels (A~ - D~ G_S D~'),     df/dlambda_t = 2 Gamma_t lambda_t
//
// For directions dT_k of the entries of T, with J = D~ N as there, S^_k = -sum J'dT_k J,
// and c_k = dT_k J level by level (its last column c_ke):
//
//     average information  AI_kl = c_ke'A~ c_le - sum_a S^_k,ae S^_l,ae - S^_k,ee S^_l,ee / nu
//     exactly              H_kl = 2 c_k'A~ c_l - tr(A~ dT_k A~ dT_l) - sum_ab S^_k,ab S^_l,ab
//                                 - 2 sum_a S^_k,ae S^_l,ae - S^_k,ee S^_l,ee / nu
//     f_kl = J_T H J_T' + tr(Gamma (lambda_k lambda_l' + lambda_l lambda_k')),  J_T = dT/dlambda
//
// with A~ = Z'V^-1 Z whole: c'A~ c is what the elimination leaves of c'Z'Z c, and the trace comes
// from sparse_tangent.hpp. The last part is exact, and all the curvature that there is at a zero
// variance.

namespace blocklmm {

// An entry of T and its mirror image, dT = e_a e_b' + e_b e_a' (e_a e_a' on the diagonal).
struct Direction {
  Index factor, a, b;      // rows of lambda, a <= b
  Index local_a, local_b;  // the same among the factor's columns
  double scale;            // dT in the units of Standardization, in those of the statistics
};

enum class ExactHessian { never, always };

class SparseObjective {
 public:
  // members: which rows of lambda are whose; blocks: the sizes of the terms, side by side along it.
  SparseObjective(const Statistics& statistics, std::vector<Index> x_columns, Members members,
                  std::vector<Index> blocks, const Blas& blas, double memory_limit);

  // The statistics have got another response.
  void take_response();

  // derivatives: in all entries of lambda's blocks, column by column.
  Evaluation evaluate(const Matrix& lambda, const Criterion& criterion, bool derivatives,
                      ExactHessian exact_hessian, int n_threads) const;
  CovarianceDerivatives covariance_derivatives(const Matrix& lambda, int n_threads) const;

  // As conditional_modes of one factor: where to write the results of all levels, by factor.
  void modes(const Matrix& lambda, const Matrix& inverse_factor, const std::vector<Matrix>& bases,
             int n_threads, const std::vector<ModesResult>& to) const;
  // Cov(b_i, b_j | y) / sigma^2 of pairs of levels of two factors, in the units of
  // Standardization: n blocks of q_f x q_g by columns.
  void covariances(const Matrix& lambda, Index f, Index g, const Index* i, const Index* j, Index n,
                   int n_threads, double* to) const;

  // For the start of an optimiser.
  MomentEquations moment_equations() const;

  // Seconds that evaluations have spent by part, since the last call.
  std::map<std::string, double> take_seconds() const;

  const Statistics& statistics() const { return statistics_; }
  const Standardization& units() const { return units_; }
  const std::vector<Index>& blocks() const { return blocks_; }
  const Elimination& plan() const { return plan_; }

 private:
  SparseFactor& factored(const Matrix& lambda, int n_threads, double& logdet) const;
  // The criterion's value, and D = Z'M as the elimination leaves it.
  Evaluation eliminated(const Matrix& lambda, const Criterion& criterion, int n_threads,
                        Effects& D) const;
  std::vector<Matrix> by_factor(const Matrix& lambda) const;
  std::vector<Vector> z_units() const;
  struct Slopes {
    std::vector<Matrix> S;  // S^_k
    Matrix products;        // c'A~ c, n_columns for each direction
    Index n_columns;
    Eigen::Block<const Matrix> of(Index k, Index l) const {
      return products.block(k * n_columns, l * n_columns, n_columns, n_columns);
    }
  };
  Slopes slopes_of(const Effects& J, const std::vector<Direction>& directions, Index n_columns,
                   bool whole) const;
  Matrix curvature(const Slopes& slopes, double through_sigma, bool reml, bool exact) const;
  Matrix trace_pairs(const std::vector<Direction>& directions) const;

  const Statistics& statistics_;
  Standardization units_;
  Members members_;
  std::vector<Index> blocks_;
  Blas blas_;
  Elimination plan_;
  mutable std::mutex mutex_;  // of the factor, which is used again and again
  mutable std::unique_ptr<SparseFactor> factor_;
};

}  // namespace blocklmm
