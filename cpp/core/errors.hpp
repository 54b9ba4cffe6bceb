#pragma once

#include <stdexcept>
#include <string>

#include "types.hpp"

namespace blocklmm {

// Misuse of the core: shapes, ranges and types that the caller should have checked.
class InvalidArgument : public std::invalid_argument {
 public:
  using std::invalid_argument::invalid_argument;
};

// A cross-product matrix that must be positive definite is not; `pivot` is the first column that
// depends on those before it, in the order given to the objective (the last one is y).
class NotPositiveDefinite : public std::runtime_error {
 public:
  explicit NotPositiveDefinite(Index pivot)
      : std::runtime_error("cross products are not positive definite at column " +
                           std::to_string(pivot)) {}
};

inline void require(bool condition, const char* message) {
  if (!condition) throw InvalidArgument(message);
}

}  // namespace blocklmm
