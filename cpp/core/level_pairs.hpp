#pragma once

#include <cstdint>
#include <vector>

#include "columns.hpp"
#include "stripes.hpp"

// The cross products Z_i'Z_j of two grouping factors, for the pairs of levels that meet in a row.
// The factor with more levels is the major one (with more slots, while rows come in). Pairs are found
// by hashing; most rows of a nested or sorted factor need no hash, because its level met the same
// partner the last time.

namespace blocklmm {

// By levels of the major factor: the levels of the minor one that each meets, in order, and the
// q_major x q_minor blocks, by columns.
struct PairBlocks {
  Index major = 0, minor = 0;  // numbers of the factors
  Index block_size = 1;
  std::vector<Index> start;
  std::vector<std::int32_t> level;
  std::vector<double> values;

  Index n_pairs() const { return static_cast<Index>(level.size()); }
  // Whether sizes and numbers are those of pairs of so many levels, with blocks of so many numbers.
  bool are_of(Index n_major, Index n_minor, Index size) const;
  // Each level of the major factor meets one of the minor: the major is nested in the minor.
  bool is_nested() const { return n_pairs() + 1 == static_cast<Index>(start.size()); }
};

class LevelPairs {
 public:
  struct Side {
    Index factor;
    std::vector<Index> z;  // the block's columns that make Z
    Index n_slots;
  };
  LevelPairs(Side a, Side b);

  // Rows 0 … n - 1 of the block, with their slots by factor, of which the owner's are taken.
  void add(const Block& block, const std::vector<const std::int64_t*>& slots, Index n,
           const Owner& owner);

  bool is_of(Index factor) const { return factor == major_.factor || factor == minor_.factor; }
  // A factor gets more slots.
  void grow(Index factor, Index n_slots);
  // Adds the blocks of other rows, whose level i of factor f is slot slots[f][i] here.
  void add(const PairBlocks& blocks, const std::vector<std::vector<Index>>& slots);

  // Takes the slots that remain of each factor; the tables are given up.
  PairBlocks finish(const std::vector<std::vector<Index>>& kept);

 private:
  // Open addressing: `table` holds numbers of entries plus one, 0 is empty.
  struct Stripe {
    std::vector<std::uint32_t> table;
    std::vector<std::uint64_t> keys;
    std::vector<double> values;
    std::uint32_t find_or_add(std::uint64_t key, std::size_t block_size);
    void grow();
  };
  template <bool kIsScalar>
  void add_rows(const Block& block, const std::int64_t* major, const std::int64_t* minor, Index n,
                const Owner& owner);

  Side major_, minor_;
  std::vector<Stripe> stripes_;
  std::vector<std::uint32_t> last_partner_, last_entry_;  // by major slot; none: kNone
};

}  // namespace blocklmm
