#pragma once

#include <cmath>
#include <cstdint>
#include <random>

namespace blocklmm {

// A stream of random numbers for each (seed, number of the replicate), whatever thread draws it.
// The engine is the standard's; the transformations are here because the standard leaves those of
// its distributions to the implementation, and a seed should give the same numbers everywhere.
class Random {
 public:
  Random(std::uint64_t seed, std::uint64_t replicate) {
    std::seed_seq sequence{low(seed), high(seed), low(replicate), high(replicate)};
    engine_.seed(sequence);
  }

  // Uniform on (-1, 1).
  double symmetric() { return static_cast<double>(engine_() >> 11) * 0x1p-52 - 1; }

  // Standard normal, by the polar method (Marsaglia & Bray 1964).
  double normal() {
    if (has_spare_) {
      has_spare_ = false;
      return spare_;
    }
    double x, y, s;
    do {
      x = symmetric();
      y = symmetric();
      s = x * x + y * y;
    } while (s >= 1 || s == 0);
    const double scale = std::sqrt(-2 * std::log(s) / s);
    spare_ = y * scale;
    has_spare_ = true;
    return x * scale;
  }

  // Chi-square, by rejection from a transformed normal (Marsaglia & Tsang 2000); 0 for df = 0.
  double chi_square(double df) {
    if (df <= 0) return 0;
    if (df < 2) {  // a gamma variable of shape a is one of shape a + 1 times U^(1/a)
      const double u = 0.5 * (symmetric() + 1);
      return chi_square(df + 2) * std::pow(u, 2 / df);
    }
    const double d = df / 2 - 1.0 / 3, c = 1 / std::sqrt(9 * d);
    for (;;) {
      const double x = normal(), root = 1 + c * x;
      if (root <= 0) continue;
      const double v = root * root * root, u = 0.5 * (symmetric() + 1);
      if (std::log(u) < 0.5 * x * x + d - d * v + d * std::log(v)) return 2 * d * v;
    }
  }

 private:
  static std::uint32_t low(std::uint64_t x) { return static_cast<std::uint32_t>(x); }
  static std::uint32_t high(std::uint64_t x) { return static_cast<std::uint32_t>(x >> 32); }
  std::mt19937_64 engine_;
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace blocklmm
