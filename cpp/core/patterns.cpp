#include "patterns.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <unordered_map>

#include "group_batches.hpp"
#include "packing.hpp"
#include "parallel.hpp"

namespace blocklmm {
namespace {

constexpr double kRounding = 64 * std::numeric_limits<double>::epsilon();

// The pattern of each group, numbered by first appearance; empty where hardly any are equal.
class PatternFinder {
 public:
  PatternFinder(const LevelRecords& records) : records_(records) {
    const Index q = records.n_random(), n_groups = records.n_levels();
    for (Index j = 0; j < q; ++j)
      for (Index i = 0; i <= j; ++i) positions_.push_back(records.position(i, j));
    for (Index i = 0; i < n_groups; ++i) {
      if (i == kSample && 2 * n_patterns() > kSample) {
        pattern_of_.clear();
        return;
      }
      pattern_of_.push_back(find(i));
    }
  }

  Index n_patterns() const { return static_cast<Index>(representatives_.size()); }
  const std::vector<Index>& pattern_of() const { return pattern_of_; }

 private:
  static constexpr Index kSample = 2048;

  Index find(Index group) {
    const double* record = records_.record(group);
    std::uint64_t hash = 0;
    for (const Index k : positions_) {
      std::uint64_t bits;
      std::memcpy(&bits, record + k, sizeof bits);
      hash = (hash ^ bits) * 0x9e3779b97f4a7c15u;
      hash ^= hash >> 29;
    }
    const auto [begin, end] = by_hash_.equal_range(hash);
    for (auto it = begin; it != end; ++it) {
      const double* other = records_.record(representatives_[static_cast<std::size_t>(it->second)]);
      bool equal = true;
      for (const Index k : positions_) equal &= record[k] == other[k];
      if (equal) return it->second;
    }
    by_hash_.emplace(hash, n_patterns());
    representatives_.push_back(group);
    return n_patterns() - 1;
  }

  const LevelRecords& records_;
  std::vector<Index> positions_, pattern_of_, representatives_;
  std::unordered_multimap<std::uint64_t, Index> by_hash_;
};

// K = LL' for a positive semidefinite K that is a difference of sums of squares of size `total`;
// columns of L that rounding alone would fill are left out. pivots: the row that each begins in.
Matrix semidefinite_factor(const Matrix& K, const Vector& total,
                           std::vector<Index>* pivots = nullptr) {
  const Index n = K.rows();
  Matrix L = Matrix::Zero(n, n);
  Index rank = 0;
  for (Index j = 0; j < n; ++j) {
    const Vector column = K.col(j) - L.leftCols(rank) * L.row(j).head(rank).transpose();
    if (!(column[j] > kRounding * total[j])) continue;
    L.col(rank).tail(n - j) = column.tail(n - j) / std::sqrt(column[j]);
    ++rank;
    if (pivots) pivots->push_back(j);
  }
  return L.leftCols(rank);
}

// Y_y = R^-T Z'y of some batches, into its place, and Y'Y_y summed over the lanes' groups.
BLOCKLMM_CLONES void project(const Lanes* Zy, Index n_batches, Index q, Index m, Lanes* batch,
                             Lanes* sum) {
  const Index h = q * (q + 1) / 2, y = m - 1;
  for (Index j = 0; j < m; ++j) sum[j] = Lanes{};
  for (Index b = 0; b < n_batches; ++b, Zy += q, batch += h + q * m + 1) {
    const Lanes* Y = batch + h;
    Lanes* Y_y = batch + h + q * y;
    for (Index a = 0; a < q; ++a) {
      const Lanes* R_a = batch + a * (a + 1) / 2;  // its column
      Lanes value = Zy[a];
      for (Index k = 0; k < a; ++k) value -= R_a[k] * Y_y[k];
      value = R_a[a] > 0.0 ? value / R_a[a] : Lanes{};
      Y_y[a] = value;
      for (Index j = 0; j < y; ++j) sum[j] += Y[j * q + a] * value;
      sum[y] += value * value;
    }
  }
}

// Z_i'y in the units, a row for each of n groups.
Matrix products_with_y(const Statistics& statistics, const Standardization& units,
                       const Index* groups, Index n) {
  const LevelRecords& records = statistics.factor(0);
  Matrix out(n, units.q);
  for (Index a = 0; a < units.q; ++a) {
    const Index place = records.position_of_column(a, units.m_columns.back());
    const double unit = 1 / (units.z_scale[a] * units.m_scale[units.p]);
    for (Index k = 0; k < n; ++k) out(k, a) = records.record(groups[k])[place] * unit;
  }
  return out;
}

}  // namespace

PackedGroups::PackedGroups(const Statistics& statistics, const Standardization& units,
                           int n_threads, bool keeps_members)
    : explained(Matrix::Zero(units.p + 1, units.p + 1)),
      within(units.C),
      keeps_members_(keeps_members) {
  if (units.q == 0) return;
  const Index q = units.q, m = units.p + 1, n_groups = statistics.n_groups();
  const Index size = q * m;
  batch_size_ = q * (q + 1) / 2 + size + 1;
  const PatternFinder finder(statistics.factor(0));
  const std::vector<Index>& pattern_of = finder.pattern_of();
  if (pattern_of.empty() || 2 * finder.n_patterns() * size > n_groups) {
    keep_all(statistics, units, n_threads);
    return;
  }
  GroupFactors group(statistics, units);
  const Eigen::Map<const Vector> vec_Y(group.Y.data(), size);
  PairwiseSum<Matrix> sum;
  Matrix part = Matrix::Zero(m, m);
  Index n_in_part = 0;
  const auto compute = [&](Index i) {
    group.compute(i);
    rank_of_z += (group.R.diagonal().array() > 0).count();
    for (Index b = 0; b < m; ++b)
      for (Index a = b; a < m; ++a) {
        double product = 0;
        for (Index k = 0; k < q; ++k) product += group.Y(k, a) * group.Y(k, b);
        part(a, b) += product;
      }
    group.Y.col(m - 1) += group.explained;
    if (++n_in_part == 64) {
      sum.add(part);
      part.setZero();
      n_in_part = 0;
    }
  };

  n_patterns = finder.n_patterns();
  std::vector<Index> start(static_cast<std::size_t>(n_patterns + 1), 0), members(pattern_of.size());
  for (const Index k : pattern_of) ++start[static_cast<std::size_t>(k + 1)];
  for (std::size_t k = 1; k < start.size(); ++k) start[k] += start[k - 1];
  std::vector<Index> next = start;
  for (Index i = 0; i < n_groups; ++i)
    members[static_cast<std::size_t>(
        next[static_cast<std::size_t>(pattern_of[static_cast<std::size_t>(i)])]++)] = i;
  for (Index k = 0; k < n_patterns; ++k) {
    const Index begin = start[static_cast<std::size_t>(k)];
    const Index end = start[static_cast<std::size_t>(k + 1)];
    if (end - begin <= size) {
      for (Index at = begin; at < end; ++at) {
        const Index i = members[static_cast<std::size_t>(at)];
        compute(i);
        if (keeps_members) {
          group_of_slot_.resize(static_cast<std::size_t>(n_packed_), -1);
          group_of_slot_.push_back(i);
        }
        append(group.R, vec_Y, 1);
      }
      continue;
    }
    const Index of_X = size - q;
    Matrix K = Matrix::Zero(size, size), Y_X(keeps_members ? end - begin : 0, of_X);
    for (Index at = begin; at < end; ++at) {
      compute(members[static_cast<std::size_t>(at)]);
      K.selfadjointView<Eigen::Lower>().rankUpdate(vec_Y);
      if (keeps_members) Y_X.row(at - begin) = vec_Y.head(of_X);
    }
    K = K.selfadjointView<Eigen::Lower>();
    std::vector<Index> pivots;
    Matrix L = semidefinite_factor(K, K.diagonal(), &pivots);
    if (keeps_members) {  // a slot for each pivot that y may have
      const Index rank = std::lower_bound(pivots.begin(), pivots.end(), of_X) - pivots.begin();
      pivots.resize(static_cast<std::size_t>(rank));
      L.conservativeResize(Eigen::NoChange, rank + q);
      patterns_.push_back({{members.begin() + begin, members.begin() + end},
                           n_packed_,
                           group.R,
                           std::move(Y_X),
                           L.topLeftCorner(of_X, rank),
                           std::move(pivots)});
      L.rightCols(q).setZero();  // take_response() fills them
    }
    append(group.R, L.cols() ? Vector(L.col(0)) : Vector(Vector::Zero(size)),
           static_cast<double>(end - begin));
    for (Index j = 1; j < L.cols(); ++j) append(group.R, L.col(j), 0);
  }
  sum.add(part);
  part = sum.total(Matrix::Zero(m, m));
  explained = part.selfadjointView<Eigen::Lower>();
  within -= explained;
  clean(within, units);
}

void PackedGroups::keep_all(const Statistics& statistics, const Standardization& units,
                            int n_threads) {
  const Index m = units.p + 1;
  n_packed_ = statistics.n_groups();
  n_batches_ = (n_packed_ + kLanes - 1) / kLanes;
  data_.resize(static_cast<std::size_t>(n_batches_ * batch_size_));
  const Index n_tasks = (n_batches_ + kTaskBatches - 1) / kTaskBatches;
  std::vector<Packed> parts(static_cast<std::size_t>(n_tasks));
  for_each_task(n_tasks, n_threads, [&](Index task) {
    const Index begin = task * kTaskBatches, end = std::min(n_batches_, begin + kTaskBatches);
    parts[static_cast<std::size_t>(task)] =
        pack_batches(statistics, units, begin, end, data_.data() + begin * batch_size_);
  });
  PairwiseSum<Matrix> sum;
  for (Packed& part : parts) {
    rank_of_z += part.rank;
    sum.add(std::move(part.explained));
  }
  explained = sum.total(Matrix::Zero(m, m));
  within -= explained;
  clean(within, units);
}

// Columns of X that do not vary within the groups are exactly so: with a large lambda all that is
// known of their coefficients is smaller than the rounding of this difference.
void PackedGroups::clean(Matrix& within, const Standardization& units) {
  Vector total = units.C.diagonal();
  total[units.p] = 0;
  const Matrix L = semidefinite_factor(within, total);
  within.noalias() = L * L.transpose();
}

void PackedGroups::take_response(const Statistics& statistics, const Standardization& units) {
  if (units.q == 0 || (n_patterns > 0 && !keeps_members_))
    *this = PackedGroups(statistics, units, 1, true);
  if (units.q == 0) return;
  const Index y = units.p;
  Vector of_y = take_singles(statistics, units);
  for (const Pattern& pattern : patterns_) of_y += take_pattern(pattern, statistics, units);
  explained.col(y) = of_y;
  explained.row(y) = of_y.transpose();
  within.col(y) = units.C.col(y) - of_y;
  within.row(y) = within.col(y).transpose();
  clean(within, units);
}

Vector PackedGroups::take_singles(const Statistics& statistics, const Standardization& units) {
  const Index q = units.q, m = units.p + 1;
  const LevelRecords& records = statistics.factor(0);
  std::vector<Index> places;
  for (Index a = 0; a < q; ++a)
    places.push_back(records.position_of_column(a, units.m_columns.back()));
  const Vector unit = (units.z_scale * units.m_scale[units.p]).cwiseInverse();
  constexpr Index kChunk = 64;
  AlignedVector Zy(static_cast<std::size_t>(kChunk * q * kLanes));
  LaneVector part(static_cast<std::size_t>(m));
  PairwiseSum<Vector> sums;
  for (Index first = 0; first < n_batches_; first += kChunk) {
    const Index n = std::min(kChunk, n_batches_ - first);
    for (Index slot = 0; slot < n * kLanes; ++slot) {
      const Index group = single_in(first * kLanes + slot);
      double* to = Zy.data() + slot / kLanes * q * kLanes + slot % kLanes;
      const double* record = group < 0 ? nullptr : records.record(group);
      for (Index a = 0; a < q; ++a)
        to[a * kLanes] = record ? record[places[static_cast<std::size_t>(a)]] * unit[a] : 0.0;
    }
    project(reinterpret_cast<const Lanes*>(Zy.data()), n, q, m, data_.data() + first * batch_size_,
            part.data());
    Vector sum(m);
    for (Index j = 0; j < m; ++j) sum[j] = lane_sum(part[static_cast<std::size_t>(j)]);
    sums.add(std::move(sum));
  }
  return sums.total(Vector::Zero(m));
}

Vector PackedGroups::take_pattern(const Pattern& pattern, const Statistics& statistics,
                                  const Standardization& units) {
  const Index q = units.q, of_X = q * units.p, h = q * (q + 1) / 2;
  const auto n = static_cast<Index>(pattern.members.size());
  const Matrix& R = pattern.R;
  PairwiseSum<Matrix> sums;  // K_yX and K_yy side by side
  for (Index first = 0; first < n; first += 64) {
    const Index size = std::min<Index>(64, n - first);
    Matrix Y = products_with_y(statistics, units, pattern.members.data() + first, size);
    for (Index a = 0; a < q; ++a) {
      for (Index k = 0; k < a; ++k) Y.col(a) -= R(k, a) * Y.col(k);
      Y.col(a) *= R(a, a) > 0 ? 1 / R(a, a) : 0.0;
    }
    Matrix K(q, of_X + q);
    K.leftCols(of_X).noalias() = Y.transpose() * pattern.Y_X.middleRows(first, size);
    K.rightCols(q).noalias() = Y.transpose() * Y;
    sums.add(std::move(K));
  }
  const Matrix K = sums.total(Matrix::Zero(q, of_X + q));
  const auto rank = static_cast<Index>(pattern.pivots.size());
  Matrix L(q, rank + q);
  for (Index c = 0; c < rank; ++c) {
    const Index row = pattern.pivots[static_cast<std::size_t>(c)];
    L.col(c) = (K.col(row) - L.leftCols(c) * pattern.L_XX.row(row).head(c).transpose()) /
               pattern.L_XX(row, c);
  }
  const Matrix K_yy = K.rightCols(q);
  const Matrix L_yy =
      semidefinite_factor(K_yy - L.leftCols(rank) * L.leftCols(rank).transpose(), K_yy.diagonal());
  L.rightCols(q).setZero();
  L.middleCols(rank, L_yy.cols()) = L_yy;
  for (Index c = 0; c < L.cols(); ++c)
    for (Index a = 0; a < q; ++a) value(pattern.first_slot + c, h + of_X + a) = L(a, c);
  Vector of_y(units.p + 1);
  for (Index j = 0; j <= units.p; ++j) of_y[j] = K.middleCols(q * j, q).diagonal().sum();
  return of_y;
}

void PackedGroups::append(const Matrix& R, const Eigen::Ref<const Vector>& vec_Y,
                          double multiplicity) {
  const Index lane = n_packed_ % kLanes, q = R.rows();
  if (lane == 0) {
    data_.resize(static_cast<std::size_t>(++n_batches_ * batch_size_), Lanes{});
  }
  ++n_packed_;
  Lanes* at = data_.data() + (n_batches_ - 1) * batch_size_;
  for (Index j = 0; j < q; ++j)
    for (Index i = 0; i <= j; ++i) (*at++)[lane] = R(i, j);
  for (Index k = 0; k < vec_Y.size(); ++k) (*at++)[lane] = vec_Y[k];
  (*at)[lane] = multiplicity;
}

}  // namespace blocklmm
