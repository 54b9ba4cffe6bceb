#pragma once

#include <functional>
#include <vector>

#include "blocks.hpp"
#include "criterion.hpp"

// Trust-region Newton over T = FF', and the evidence that an optimum is one.
//
// The criterion f depends on lambda only through T, so a factor F of T needs no bounds: the trust
// region, in the coordinates of chart.hpp, follows negative curvature out of saddles (Conn, Gould
// & Toint 2000, ch. 7), each step solved exactly from the eigenvalues of the Hessian.
//
// At a minimum over positive semidefinite T the gradient in theta is zero and Gamma = df/dT is
// positive semidefinite, also where T is singular: that is the certificate. Both are in units in
// which every column of Z has root mean square one.
//
// An approximate Hessian, where it costs less by far, takes the first steps, and all if they lead to
// a certified minimum soon.
//
// From some starts the best minimum is kept. One more descent starts at the boundary nearest to
// the first minimum, where that point is hardly higher; others where the first minimum is so flat
// that data like these have been seen to have a second one.

namespace blocklmm {

enum class Derivatives { none, approximate_hessian, exact_hessian };

// f as a function of a factor F of T.
struct CriterionFunction {
  // At a block diagonal F, derivatives in all entries of its blocks, column by column. Throws
  // NotPositiveDefinite where f is infinite.
  std::function<Evaluation(const Matrix& F, Derivatives derivatives)> evaluate;
  double constant;  // what f lacks: rounding is judged by the size of the whole
  Index n;          // rows
  // The Hessian that a descent begins with, and the one that it ends with where that leads to no
  // certificate.
  Derivatives first, last;
  // Where approximate Hessians stop: they converge linearly, so that the last step leaves an error
  // of its own size, where an exact one leaves its square.
  double approximate_tolerance = 0;
  // Criteria of parts of the data, whose minima are nearer and nearer to that of f and cost less by
  // far to find: a descent of f starts from where they lead.
  std::vector<CriterionFunction> samples = {};
};

struct Starts {
  std::vector<Matrix> always;   // block diagonal factors of the first T's, at least one
  std::vector<Matrix> if_flat;  // only where the minimum found from the first of them is flat
};

struct OptimizerOptions {
  Index max_evaluations = 500;
  // Stop when a Newton step would lower f by less.
  double tolerance = 1e-15;
  std::function<void()> before_evaluation;  // may throw, to interrupt
  double certified_tolerance = 0;           // the same where the certificate holds already
};

enum class Status {
  closed_form,  // there are no random terms
  optimal,      // certified, and T regular
  singular,     // certified, and T on the boundary
  uncertified,  // no descent is left, but the certificate does not hold
  stopped,      // after max_evaluations
  exact_fit,    // no residual variance at the first start: nothing else is set
};

struct Optimum {
  Status status = Status::exact_fit;
  Matrix factor;          // canonical
  Evaluation evaluation;  // value with the constant; derivatives at another factor of the same T
  Index n_evaluations = 0;
  double gradient = 0;              // largest absolute entry of df/dF = 2 Gamma F
  double min_eigenvalue = 0;        // of Gamma over the terms; NaN without terms
  Index n_flat = 0;                 // directions of T on which a certified f does not depend
  std::vector<Index> unidentified;  // terms on whose size f does not depend

  bool converged() const {
    return status == Status::closed_form || status == Status::optimal || status == Status::singular;
  }
};

Optimum minimize(const CriterionFunction& f, const Blocks& blocks, const Starts& starts,
                 const OptimizerOptions& options);

}  // namespace blocklmm
