#pragma once

#include <vector>

#include "criterion.hpp"

namespace blocklmm {

// What the derivatives of the criterion take of the groups, in the letters of block_objective.hpp.
struct DerivativeSums {
  Vector gamma;      // sum (A~ - W), lower triangle by rows
  Vector curvature;  // sum (A~ x W + W x A~ - A~ x A~), packed pairs of packed entries
  Matrix moments;    // sum vec(J) vec(J)', qm x qm, J(i, a) at a q + i
  DerivativeSums& operator+=(const DerivativeSums& other) {
    gamma += other.gamma;
    curvature += other.curvature;
    moments += other.moments;
    return *this;
  }
};

// Adds Gamma, gradient and Hessian in the free entries of lambda to a value found by profiled().
void set_derivatives(const DerivativeSums& sums, const Matrix& lambda,
                     const std::vector<Entry>& free_entries, const Criterion& criterion, Index n,
                     Evaluation& result);

}  // namespace blocklmm
