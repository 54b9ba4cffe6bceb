#pragma once

#include <cstdint>

#include "columns.hpp"

// The two sums over the rows of a block: U'U of all, and z_i u_i' into the record of each row's
// group.

namespace blocklmm {

inline constexpr Index kTile = 4;

// out, packed by kTile x kTile tiles of the lower triangle, += the block's U'U.
void add_gram(const Block& block, Index n_tiles, Index n_rows, double* out);

struct OwnRows {
  Index n;
  const std::int32_t* row;
  const std::int64_t* slot;
};

// records: for each slot the number of rows, then the upper trapezoid of Z'U.
using AddRecords = void (*)(const Block& block, const OwnRows& own, Index q, Index u,
                            Index record_size, double* records);
AddRecords pick_add_records(Index q, Index u);

}  // namespace blocklmm
