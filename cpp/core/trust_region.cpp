#include "trust_region.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace blocklmm {

TrustRegionStep trust_region_step(const Vector& values, const Vector& slopes, double radius) {
  constexpr double kEps = std::numeric_limits<double>::epsilon();
  const double lowest = values[0];
  const double floor = kEps * std::max(1.0, values.cwiseAbs().maxCoeff());
  const double shift = lowest > floor ? 0 : floor - lowest;
  double mu = shift;
  Vector step = -slopes.array() / (values.array() + mu);
  double length = step.norm();
  if (length > radius) {
    double low = shift, high = shift + slopes.norm() / radius;
    for (int k = 0; k < 60; ++k) {
      step = -slopes.array() / (values.array() + mu);
      length = step.norm();
      if (std::abs(length - radius) <= 1e-3 * radius) break;
      (length > radius ? low : high) = mu;
      const double growth = (step.array().square() / (values.array() + mu)).sum();
      mu += (length / radius - 1) * length * length / growth;
      if (!(low < mu && mu < high)) mu = 0.5 * (low + high);
    }
  } else if (lowest < -floor) {
    const double rest = step.tail(step.size() - 1).norm();
    step[0] = std::sqrt(std::max(radius * radius - rest * rest, 0.0));
    if (slopes[0] > 0) step[0] = -step[0];
  }
  const double predicted = -(slopes + 0.5 * values.cwiseProduct(step)).dot(step);
  return {std::move(step), predicted};
}

}  // namespace blocklmm
