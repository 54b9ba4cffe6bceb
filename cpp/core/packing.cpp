#include "packing.hpp"

#include <algorithm>
#include <limits>

#include "parallel.hpp"

namespace blocklmm {
namespace {

// Where the entries of A_i and D_i stand in a record, and what makes them unit-free; by columns.
struct Places {
  std::vector<Index> a, d;
  std::vector<double> a_unit, d_unit;
  std::vector<double> b_unit;  // of the fits that a second pass took from y
};

Places places_of(const LevelRecords& records, const Standardization& units) {
  Places out;
  for (Index j = 0; j < units.q; ++j)
    for (Index i = 0; i <= j; ++i) {
      out.a.push_back(records.position(i, j));
      out.a_unit.push_back(1 / (units.z_scale[i] * units.z_scale[j]));
    }
  for (Index j = 0; j <= units.p; ++j)
    for (Index i = 0; i < units.q; ++i) {
      out.d.push_back(records.position_of_column(i, units.m_columns[static_cast<std::size_t>(j)]));
      out.d_unit.push_back(1 / (units.z_scale[i] * units.m_scale[j]));
    }
  for (Index i = 0; i < units.q; ++i)
    out.b_unit.push_back(units.z_scale[i] / units.m_scale[units.p]);
  return out;
}

// R (upper triangle by columns) and Y (by columns) of a batch, in place of A and D; see
// GroupFactors. Lanes where a pivot is rounding get a row of zeros.
template <Index Q>
BLOCKLMM_INLINE void factor_in_place(Lanes* R, Lanes* Y, const Lanes& rounding, Index q_any,
                                     Index m, Lanes* inverse) {
  const Index q = Q ? Q : q_any;
  for (Index j = 0; j < q; ++j) {
    Lanes* column = R + j * (j + 1) / 2;
    for (Index i = 0; i < j; ++i) {
      const Lanes* other = R + i * (i + 1) / 2;
      Lanes sum = column[i];
      for (Index k = 0; k < i; ++k) sum -= other[k] * column[k];
      column[i] = sum * inverse[i];
    }
    const Lanes total = column[j];
    Lanes sum = total;
    for (Index k = 0; k < j; ++k) sum -= column[k] * column[k];
    const LaneBits is_regular = (LaneBits)(sum > rounding * total);
    const Lanes pivot = lane_sqrt(is_regular ? sum : broadcast(1));
    column[j] = is_regular ? pivot : Lanes{};
    inverse[j] = is_regular ? 1.0 / pivot : Lanes{};
  }
  for (Index j = 0; j < m; ++j)
    for (Index i = 0; i < q; ++i) {
      const Lanes* column = R + i * (i + 1) / 2;
      Lanes sum = Y[j * q + i];
      for (Index k = 0; k < i; ++k) sum -= column[k] * Y[j * q + k];
      Y[j * q + i] = sum * inverse[i];
    }
}

template <Index Q>
BLOCKLMM_CLONES void pack(const LevelRecords& records, const Places& places, const Matrix& fits,
                          Index q_any, Index m, Index begin, Index end, Lanes* out,
                          PairwiseSum<Vector>& explained, Lanes& rank) {
  const Index q = Q ? Q : q_any, h = q * (q + 1) / 2, size = h + q * m + 1;
  LaneVector inverse(static_cast<std::size_t>(q)), part(static_cast<std::size_t>(m * (m + 1) / 2));
  constexpr double kEps = std::numeric_limits<double>::epsilon();
  Index in_part = 0;
  const auto flush = [&] {
    Vector sum(static_cast<Index>(part.size()));
    for (Index k = 0; k < sum.size(); ++k) sum[k] = lane_sum(part[static_cast<std::size_t>(k)]);
    explained.add(std::move(sum));
    std::fill(part.begin(), part.end(), Lanes{});
    in_part = 0;
  };
  for (Index b = begin; b < end; ++b, out += size) {
    Lanes* R = out;
    Lanes* Y = out + h;
    Lanes rounding{}, multiplicity{};
    const Index n_lanes = std::min(kLanes, records.n_levels() - b * kLanes);
    std::fill(out, out + size, Lanes{});
    for (Index l = 0; l < n_lanes; ++l) {
      const double* record = records.record(b * kLanes + l);
      for (Index k = 0; k < h; ++k)
        R[k][l] = record[places.a[static_cast<std::size_t>(k)]] *
                  places.a_unit[static_cast<std::size_t>(k)];
      for (Index k = 0; k < q * m; ++k)
        Y[k][l] = record[places.d[static_cast<std::size_t>(k)]] *
                  places.d_unit[static_cast<std::size_t>(k)];
      rounding[l] = (8 + record[0]) * kEps;  // each sum of n_i products may be off by n_i roundings
      multiplicity[l] = 1;
    }
    factor_in_place<Q>(R, Y, rounding, q, m, inverse.data());
    out[size - 1] = multiplicity;
    Lanes* sum = part.data();
    for (Index i = 0; i < m; ++i)
      for (Index j = 0; j <= i; ++j, ++sum)
        for (Index k = 0; k < q; ++k) *sum += Y[i * q + k] * Y[j * q + k];
    if (++in_part == 64 / kLanes) flush();
    for (Index j = 0; j < q; ++j) rank += R[j * (j + 1) / 2 + j] > 0.0 ? broadcast(1) : Lanes{};
    if (!fits.size()) continue;
    for (Index i = 0; i < q; ++i) {
      Lanes lacking{};
      for (Index j = i; j < q; ++j) {
        Lanes b_j{};
        for (Index l = 0; l < n_lanes; ++l)
          b_j[l] = fits(j, b * kLanes + l) * places.b_unit[static_cast<std::size_t>(j)];
        lacking += R[j * (j + 1) / 2 + i] * b_j;
      }
      Y[(m - 1) * q + i] += lacking;
    }
  }
  flush();
}

}  // namespace

Packed pack_batches(const Statistics& statistics, const Standardization& units, Index begin,
                    Index end, Lanes* out) {
  const LevelRecords& records = statistics.factor(0);
  const Places places = places_of(records, units);
  const Index q = units.q, m = units.p + 1;
  PairwiseSum<Vector> explained;
  Lanes rank{};
  const auto run = [&](auto kernel) {
    kernel(records, places, statistics.group_fits(0), q, m, begin, end, out, explained, rank);
  };
  switch (q) {
    case 1: run(pack<1>); break;
    case 2: run(pack<2>); break;
    case 3: run(pack<3>); break;
    case 4: run(pack<4>); break;
    default: run(pack<0>); break;
  }
  const Vector packed = explained.total(Vector::Zero(m * (m + 1) / 2));
  Packed result{Matrix(m, m), static_cast<Index>(lane_sum(rank))};
  for (Index i = 0, at = 0; i < m; ++i)
    for (Index j = 0; j <= i; ++j, ++at)
      result.explained(i, j) = result.explained(j, i) = packed[at];
  return result;
}

}  // namespace blocklmm
