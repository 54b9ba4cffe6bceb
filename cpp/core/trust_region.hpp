#pragma once

#include "types.hpp"

namespace blocklmm {

struct TrustRegionStep {
  Vector step;
  double predicted;  // the decrease of the model
};

// Minimises slopes'd + d'diag(values)d / 2 over |d| <= radius, for ascending values: a quadratic
// model in the eigenbasis of its Hessian (Moré & Sorensen 1983). The minimum is
// d = -(diag(values) + mu)^-1 slopes with mu >= 0 so large that no value + mu is negative; on the
// boundary mu is found by Newton's method on 1/radius - 1/|d|, within brackets. In the hard case
// the slopes do not see the lowest, negative value, and the step goes along it to the boundary.
TrustRegionStep trust_region_step(const Vector& values, const Vector& slopes, double radius);

}  // namespace blocklmm
