#pragma once

#include <cstdint>
#include <vector>

#include "columns.hpp"
#include "statistics.hpp"

// Products of many responses with the columns of one design, in one pass over the rows. With U the
// columns of Z and X about their shifts and y each response less the offsets about its own,
//
//     Z_i'y for each factor and each of its levels i,   U'y,   y'y
//
// with weights those of sqrt(w) U and sqrt(w) y: all of the statistics of a model (statistics.hpp)
// in which a response has a part. Everything is summed in the order of Statistics::update, so that
// about the same shift a response has the same products to the bit whichever way it came.
//
// Rows are read a block at a time. A tile of four responses lies side by side, a lane each, and fits
// into the first cache; columns and levels are read once for many tiles. Tiles are the tasks of the threads, so that no product
// depends on the number of threads.

namespace blocklmm {

// The columns of Statistics without y.
struct ProductsPlan {
  std::vector<Recipe> recipes;
  std::vector<Index> columns;  // U: the recipe of each column
  Vector shift;                // what is taken from each
  std::vector<Index> offsets;  // recipes that are taken from each response
  Index weight = -1;           // the recipe that makes the weights, or -1
  bool shifted = false;        // are responses taken about a shift?
  struct Factor {
    std::vector<Index> columns;  // of U, that are its Z
    Index n_levels = 0;
  };
  std::vector<Factor> factors;
};

struct DesignRows {
  std::vector<Source> sources;
  std::vector<const std::int32_t*> levels;  // by factor, the level of each row
  const std::uint8_t* used = nullptr;       // whether each row is, or nothing where all are
  Index n = 0;
};

// Responses as the user holds them: rows and responses at any distance, in bytes.
struct ResponseArray {
  const std::byte* data = nullptr;
  Index row_stride = 0, response_stride = 0, n = 0;
  bool is_single = false;  // float32, else float64
};

struct Responses {
  Vector shift;               // what was taken from each
  Vector sum, plain_yy;       // over the rows, with weights of one
  Vector yy;                  // not finite where a value is not, or its square overflows
  Matrix Xy;                  // columns of U x responses
  std::vector<Matrix> Zy;     // by factor: (q x levels) x responses
  std::vector<Index> widths;  // q of each factor

  Index n() const { return yy.size(); }
  Response response(Index k) const;
};

Responses response_products(const ProductsPlan& plan, const DesignRows& rows,
                            const ResponseArray& Y, int n_threads);

// How many of each response's values in rows that are used are missing or infinite.
std::vector<Index> count_not_finite(const DesignRows& rows, const ResponseArray& Y, int n_threads);

}  // namespace blocklmm
