#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lanes.hpp"

// Columns are a plan, not a matrix. A Source is a column as the user's frame holds it; a Recipe
// says how a column of [Z X y] is made from sources and from the columns made before it. Rows are
// filled a block at a time, so that no more than one block of a model matrix ever exists.

namespace blocklmm {

enum class Scalar { f64, f32, i64, i32, i16, i8, u64, u32, u16, u8, boolean };

struct Source {
  const std::byte* data = nullptr;
  Index stride = 0;  // bytes from one row to the next
  Scalar type = Scalar::f64;
};

struct Recipe {
  enum class Kind { constant, numeric, lookup, product, difference, centred };
  Kind kind = Kind::constant;
  Index source = -1;  // numeric and lookup
  std::vector<double>
      table;  // lookup: the value for each code, < 0 is missing; centred: what is subtracted
  std::vector<Index> operands;  // product, difference and centred: earlier recipes
};

inline constexpr Index kBlockRows = 512;
inline constexpr Index kBlockStride = kBlockRows + 2 * kLanes;  // keeps columns off one cache set

// One block of rows, column after column, padded with zero rows to whole lanes.
class Block {
 public:
  explicit Block(Index n_columns)
      : values_(static_cast<std::size_t>(n_columns * kBlockStride), 0.0) {}
  double* column(Index j) { return values_.data() + j * kBlockStride; }
  const double* column(Index j) const { return values_.data() + j * kBlockStride; }
  Index n_rows = 0;

 private:
  AlignedVector values_;
};

// out[r] = rows first … first + n - 1 of the source as doubles.
void read_numeric(const Source& source, Index first, Index n, double* out);

// out[r] = integer labels, less `base`.
void read_labels(const Source& source, std::int64_t base, Index first, Index n, std::int64_t* out);

bool all_finite(const double* values, Index n);

// Fills one column of the block by its recipe; its operands are filled already.
void fill_column(const Recipe& recipe, const std::vector<Source>& sources, Index first, Index n,
                 Index j, Block& block);

// Row-major n x columns.size() matrix of some recipes' columns; missing values stay NaN.
void fill_matrix(const std::vector<Recipe>& recipes, const std::vector<Index>& columns,
                 const std::vector<Source>& sources, Index n, double* out);

// Checks that recipes read only the given sources and the recipes before them.
void check_recipes(const std::vector<Recipe>& recipes, Index n_sources);

}  // namespace blocklmm
