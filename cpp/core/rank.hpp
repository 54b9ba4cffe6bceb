#pragma once

#include <vector>

#include "types.hpp"

namespace blocklmm {

// The columns that do not depend on the columns before them, from their cross products alone: a
// column is dropped when what the earlier ones leave of its sum of squares is at most `tolerance`
// of it (R's qr() drops the later one of a dependent set, too). Zero columns are dropped.
std::vector<Index> independent_columns(const Matrix& cross_products, double tolerance);

}  // namespace blocklmm
