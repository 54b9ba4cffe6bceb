#include "level_pairs.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "errors.hpp"

namespace blocklmm {
namespace {

constexpr std::uint32_t kNone = std::numeric_limits<std::uint32_t>::max();
constexpr Index kPrefetch = 16;

std::size_t hash_of(std::uint64_t key) {
  key *= 0x9e3779b97f4a7c15u;
  return static_cast<std::size_t>(key ^ (key >> 32));
}

}  // namespace

bool PairBlocks::are_of(Index n_major, Index n_minor, Index size) const {
  if (block_size != size || static_cast<Index>(values.size()) != n_pairs() * size) return false;
  if (static_cast<Index>(start.size()) != n_major + 1) return false;
  if (start.front() != 0 || start.back() != n_pairs()) return false;
  for (std::size_t i = 0; i + 1 < start.size(); ++i) {
    if (start[i] > start[i + 1] || start[i + 1] > n_pairs()) return false;
    std::int32_t before = -1;
    for (Index k = start[i]; k < start[i + 1]; ++k) {
      const std::int32_t l = level[static_cast<std::size_t>(k)];
      if (l <= before || l >= n_minor) return false;
      before = l;
    }
  }
  return true;
}

std::uint32_t LevelPairs::Stripe::find_or_add(std::uint64_t key, std::size_t block_size) {
  if (2 * (keys.size() + 1) > table.size()) grow();
  const std::size_t mask = table.size() - 1;
  std::size_t at = hash_of(key) & mask;
  for (; table[at] != 0; at = (at + 1) & mask)
    if (keys[table[at] - 1] == key) return table[at] - 1;
  require(keys.size() + 1 < kNone, "fewer than 2^32 pairs of levels");
  keys.push_back(key);
  values.resize(values.size() + block_size, 0.0);
  table[at] = static_cast<std::uint32_t>(keys.size());
  return table[at] - 1;
}

void LevelPairs::Stripe::grow() {
  const std::size_t size = std::max<std::size_t>(64, 2 * table.size()), mask = size - 1;
  table.assign(size, 0);
  for (std::size_t k = 0; k < keys.size(); ++k) {
    std::size_t at = hash_of(keys[k]) & mask;
    while (table[at] != 0) at = (at + 1) & mask;
    table[at] = static_cast<std::uint32_t>(k + 1);
  }
}

LevelPairs::LevelPairs(Side a, Side b)
    : major_(std::move(a)), minor_(std::move(b)), stripes_(static_cast<std::size_t>(kStripes)) {
  if (minor_.n_slots > major_.n_slots) std::swap(major_, minor_);
  require(major_.n_slots < static_cast<Index>(kNone), "fewer than 2^32 levels");
  last_partner_.assign(static_cast<std::size_t>(major_.n_slots), kNone);
  last_entry_.assign(static_cast<std::size_t>(major_.n_slots), kNone);
}

template <bool kIsScalar>
void LevelPairs::add_rows(const Block& block, const std::int64_t* major, const std::int64_t* minor,
                          Index n, const Owner& owner) {
  const auto q = static_cast<Index>(major_.z.size()), s = static_cast<Index>(minor_.z.size());
  const auto size = static_cast<std::size_t>(q * s);
  const double* z0 = block.column(major_.z[0]);
  const double* w0 = block.column(minor_.z[0]);
  for (Index r = 0; r < n; ++r) {
    if (r + kPrefetch < n) {
      const auto ahead = static_cast<std::size_t>(major[r + kPrefetch]);
      __builtin_prefetch(&last_partner_[ahead]);
      __builtin_prefetch(&last_entry_[ahead]);
    }
    if (!owner.owns(major[r])) continue;
    const auto i = static_cast<std::size_t>(major[r]);
    const auto j = static_cast<std::uint32_t>(minor[r]);
    Stripe& stripe = stripes_[static_cast<std::size_t>(stripe_of(major[r]))];
    if (last_partner_[i] != j) {
      last_partner_[i] = j;
      last_entry_[i] = stripe.find_or_add((static_cast<std::uint64_t>(i) << 32) | j, size);
    }
    double* to = stripe.values.data() + last_entry_[i] * size;
    if (kIsScalar) {
      *to += z0[r] * w0[r];
    } else {
      for (Index b = 0; b < s; ++b) {
        const double w = block.column(minor_.z[static_cast<std::size_t>(b)])[r];
        for (Index a = 0; a < q; ++a)
          *to++ += block.column(major_.z[static_cast<std::size_t>(a)])[r] * w;
      }
    }
  }
}

void LevelPairs::add(const Block& block, const std::vector<const std::int64_t*>& slots, Index n,
                     const Owner& owner) {
  const std::int64_t* major = slots[static_cast<std::size_t>(major_.factor)];
  const std::int64_t* minor = slots[static_cast<std::size_t>(minor_.factor)];
  if (major_.z.size() == 1 && minor_.z.size() == 1)
    add_rows<true>(block, major, minor, n, owner);
  else
    add_rows<false>(block, major, minor, n, owner);
}

void LevelPairs::grow(Index factor, Index n_slots) {
  Side& side = factor == major_.factor ? major_ : minor_;
  require(factor == side.factor && n_slots >= side.n_slots && n_slots < static_cast<Index>(kNone),
          "fewer than 2^32 levels of a factor");
  side.n_slots = n_slots;
  last_partner_.resize(static_cast<std::size_t>(major_.n_slots), kNone);
  last_entry_.resize(static_cast<std::size_t>(major_.n_slots), kNone);
}

void LevelPairs::add(const PairBlocks& blocks, const std::vector<std::vector<Index>>& slots) {
  const bool is_turned = blocks.major != major_.factor;
  const auto q = static_cast<Index>(major_.z.size()), s = static_cast<Index>(minor_.z.size());
  require(
      blocks.major + blocks.minor == major_.factor + minor_.factor && blocks.block_size == q * s,
      "blocks of the same factors");
  const auto& row_slots = slots[static_cast<std::size_t>(blocks.major)];
  const auto& column_slots = slots[static_cast<std::size_t>(blocks.minor)];
  const double* from = blocks.values.data();
  for (std::size_t row = 0; row + 1 < blocks.start.size(); ++row)
    for (Index at = blocks.start[row]; at < blocks.start[row + 1]; ++at, from += q * s) {
      Index i = row_slots[row];
      Index j = column_slots[static_cast<std::size_t>(blocks.level[static_cast<std::size_t>(at)])];
      if (is_turned) std::swap(i, j);
      Stripe& stripe = stripes_[static_cast<std::size_t>(stripe_of(i))];
      const auto key = (static_cast<std::uint64_t>(i) << 32) | static_cast<std::uint64_t>(j);
      const std::uint32_t entry = stripe.find_or_add(key, static_cast<std::size_t>(q * s));
      double* to =
          stripe.values.data() + static_cast<std::size_t>(entry) * static_cast<std::size_t>(q * s);
      for (Index b = 0; b < s; ++b)
        for (Index a = 0; a < q; ++a) to[a + q * b] += from[is_turned ? b + s * a : a + q * b];
    }
}

PairBlocks LevelPairs::finish(const std::vector<std::vector<Index>>& kept) {
  last_partner_ = {};
  last_entry_ = {};
  const auto place_of = [&](const Side& side) {
    const auto& slots = kept[static_cast<std::size_t>(side.factor)];
    std::vector<std::int32_t> place(static_cast<std::size_t>(side.n_slots), -1);
    for (std::size_t k = 0; k < slots.size(); ++k)
      place[static_cast<std::size_t>(slots[k])] = static_cast<std::int32_t>(k);
    return place;
  };
  const auto n_kept = [&](const Side& side) {
    return kept[static_cast<std::size_t>(side.factor)].size();
  };
  // slots decide how pairs are hashed; of the levels that remain the other factor may have more
  const bool is_turned = n_kept(minor_) > n_kept(major_);
  const Side &rows = is_turned ? minor_ : major_, &columns = is_turned ? major_ : minor_;
  const std::vector<std::int32_t> i_of = place_of(rows), j_of = place_of(columns);
  const auto row_of = [&](std::uint64_t key) { return i_of[is_turned ? key & kNone : key >> 32]; };
  const auto column_of = [&](std::uint64_t key) {
    return j_of[is_turned ? key >> 32 : key & kNone];
  };
  PairBlocks out;
  out.major = rows.factor;
  out.minor = columns.factor;
  const std::size_t q = rows.z.size(), s = columns.z.size(), size = q * s;
  out.block_size = static_cast<Index>(size);
  out.start.assign(n_kept(rows) + 1, 0);
  std::size_t n_pairs = 0;
  for (Stripe& stripe : stripes_) {
    stripe.table = {};
    n_pairs += stripe.keys.size();
    for (const std::uint64_t key : stripe.keys)
      ++out.start[static_cast<std::size_t>(row_of(key)) + 1];
  }
  std::partial_sum(out.start.begin(), out.start.end(), out.start.begin());
  out.level.resize(n_pairs);
  out.values.resize(n_pairs * size);
  std::vector<Index> next(out.start.begin(), out.start.end() - 1);
  std::vector<std::pair<std::int32_t, std::size_t>> row;
  std::vector<double> unsorted;
  for (Stripe& stripe : stripes_) {
    for (std::size_t k = 0; k < stripe.keys.size(); ++k) {
      const auto at =
          static_cast<std::size_t>(next[static_cast<std::size_t>(row_of(stripe.keys[k]))]++);
      out.level[at] = column_of(stripe.keys[k]);
      const double* from = stripe.values.data() + k * size;
      double* to = out.values.data() + at * size;
      for (std::size_t b = 0; b < s; ++b)
        for (std::size_t c = 0; c < q; ++c) to[c + q * b] = from[is_turned ? b + s * c : c + q * b];
    }
    stripe = Stripe();
  }
  for (std::size_t i = 0; i + 1 < out.start.size(); ++i) {
    const auto begin = static_cast<std::size_t>(out.start[i]);
    const auto end = static_cast<std::size_t>(out.start[i + 1]);
    std::int32_t* level = out.level.data();
    if (std::is_sorted(level + begin, level + end)) continue;
    row.clear();
    for (std::size_t at = begin; at < end; ++at) row.emplace_back(level[at], at - begin);
    std::sort(row.begin(), row.end());
    double* values = out.values.data() + begin * size;
    unsorted.assign(values, values + (end - begin) * size);
    for (std::size_t k = 0; k < row.size(); ++k) {
      level[begin + k] = row[k].first;
      std::copy_n(unsorted.data() + row[k].second * size, size, values + k * size);
    }
  }
  return out;
}

}  // namespace blocklmm
