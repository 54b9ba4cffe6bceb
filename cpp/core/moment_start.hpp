#pragma once

#include "moment_equations.hpp"

namespace blocklmm {

// x >= 0 that minimises |A x - b|, by active sets (Lawson & Hanson 1974, ch. 23).
Vector nonnegative_least_squares(const Matrix& A, const Vector& b);

// The root of each column's variance in parts of the residual's, from moments: where an optimiser
// may begin. Columns of Z that X spans have no moments; they begin at half the residual's.
Vector moment_start(const MomentEquations& equations, Index n_rows);

}  // namespace blocklmm
