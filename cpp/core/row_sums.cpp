#include "row_sums.hpp"

namespace blocklmm {
namespace {

constexpr Index kPrefetch = 12;
constexpr Index kCacheLine = 8;  // doubles

template <Index Q, Index U>
BLOCKLMM_INLINE void add_records_body(const Block& block, const OwnRows& own, Index q_any,
                                      Index u_any, Index record_size, double* records) {
  const Index q = Q ? Q : q_any, u = U ? U : u_any;
  const double* values = block.column(0);
  for (Index k = 0; k < own.n; ++k) {
    if (k + kPrefetch < own.n) {
      const double* ahead = records + own.slot[k + kPrefetch] * record_size;
      for (Index at = 0; at < record_size; at += kCacheLine) __builtin_prefetch(ahead + at, 1);
    }
    double* sum = records + own.slot[k] * record_size;
    const double* row = values + own.row[k];
    *sum++ += 1;
    for (Index a = 0; a < q; ++a) {
      const double z = row[a * kBlockStride];
      for (Index b = a; b < u; ++b) *sum++ += z * row[b * kBlockStride];
    }
  }
}

template <Index Q, Index U>
BLOCKLMM_CLONES void add_records(const Block& block, const OwnRows& own, Index q, Index u,
                                 Index record_size, double* records) {
  add_records_body<Q, U>(block, own, q, u, record_size, records);
}

template <Index Q>
AddRecords pick_width(Index u) {
  switch (u) {
    case 2: return add_records<Q, 2>;
    case 3: return add_records<Q, 3>;
    case 4: return add_records<Q, 4>;
    case 5: return add_records<Q, 5>;
    case 6: return add_records<Q, 6>;
    case 7: return add_records<Q, 7>;
    case 8: return add_records<Q, 8>;
    default: return add_records<Q, 0>;
  }
}

}  // namespace

BLOCKLMM_CLONES
void add_gram(const Block& block, Index n_tiles, Index n_rows, double* out) {
  const Index n_vectors = (n_rows + kLanes - 1) / kLanes;
  for (Index ti = 0; ti < n_tiles; ++ti)
    for (Index tj = 0; tj <= ti; ++tj, out += kTile * kTile) {
      const Lanes *x[kTile], *y[kTile];
      Lanes sum[kTile][kTile];
      for (Index k = 0; k < kTile; ++k) {
        x[k] = reinterpret_cast<const Lanes*>(block.column(ti * kTile + k));
        y[k] = reinterpret_cast<const Lanes*>(block.column(tj * kTile + k));
        for (Index l = 0; l < kTile; ++l) sum[k][l] = Lanes{};
      }
      for (Index r = 0; r < n_vectors; ++r)
        for (Index k = 0; k < kTile; ++k)
          for (Index l = 0; l < kTile; ++l) sum[k][l] += x[k][r] * y[l][r];
      for (Index k = 0; k < kTile; ++k)
        for (Index l = 0; l < kTile; ++l) out[k * kTile + l] += lane_sum(sum[k][l]);
    }
}

AddRecords pick_add_records(Index q, Index u) {
  switch (q) {
    case 1: return pick_width<1>(u);
    case 2: return pick_width<2>(u);
    case 3: return pick_width<3>(u);
    case 4: return pick_width<4>(u);
    default: return add_records<0, 0>;
  }
}

}  // namespace blocklmm
