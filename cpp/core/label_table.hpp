#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "columns.hpp"

// The labels of a grouping factor as numbers 0, 1, … in the order in which they are first met, for
// rows that come in chunks.

namespace blocklmm {

// Where a hash leads: numbers plus one, 0 is empty; open addressing, at most half full.
class HashedNumbers {
 public:
  // The number at hand for which is_same(number) holds, or -1.
  template <class IsSame>
  std::int32_t find(std::uint64_t hash, const IsSame& is_same) const {
    for (std::size_t at = hash & mask(); table_[at] != 0; at = (at + 1) & mask())
      if (is_same(static_cast<std::int32_t>(table_[at] - 1)))
        return static_cast<std::int32_t>(table_[at] - 1);
    return -1;
  }
  void prefetch(std::uint64_t hash) const { __builtin_prefetch(&table_[hash & mask()]); }
  bool is_full(Index n) const { return 2 * (n + 1) > static_cast<Index>(table_.size()); }
  // Room for twice as many; all numbers have to be put in again.
  void clear_and_grow() { table_.assign(2 * table_.size(), 0); }
  void put(std::uint64_t hash, std::int32_t number) {
    std::size_t at = hash & mask();
    while (table_[at] != 0) at = (at + 1) & mask();
    table_[at] = static_cast<std::uint32_t>(number) + 1;
  }

 private:
  std::size_t mask() const { return table_.size() - 1; }
  std::vector<std::uint32_t> table_ = std::vector<std::uint32_t>(1024, 0);
};

// Integers. Where they lie close together, a table over their range tells the number at once; else
// they are hashed. Which of both is looked at again when a table is full.
class IntegerLabels {
 public:
  // slots[r]: the number of row r's label; -1 where `missing` (may be null) says so.
  void code(const Source& labels, const std::uint8_t* missing, Index n, std::int32_t* slots);
  const std::vector<std::int64_t>& labels() const { return labels_; }

 private:
  std::int32_t add(std::int64_t label);
  bool spans(std::int64_t low, std::int64_t high);
  void hash_all();
  bool find_range();
  Index code_by_range(const std::int64_t* labels, Index n, std::int32_t* slots);
  Index code_by_hash(const std::int64_t* labels, Index n, std::int32_t* slots);

  std::vector<std::int64_t> labels_;
  bool is_hashed_ = false;
  std::int64_t low_ = 0;              // the range's first label
  std::vector<std::int32_t> number_;  // by label - low_, or -1
  HashedNumbers hashed_;
};

// Texts, as bytes of UTF-8.
class TextLabels {
 public:
  // Text r is data[offsets[r] … offsets[r + 1]).
  template <class Offset>
  void code(const char* data, const Offset* offsets, const std::uint8_t* missing, Index n,
            std::int32_t* slots);
  std::int32_t code(std::string_view text);

  Index size() const { return static_cast<Index>(ends_.size()); }
  std::string_view label(Index number) const;
  // All labels one after the other, and where each ends.
  const std::string& bytes() const { return bytes_; }
  const std::vector<std::int64_t>& ends() const { return ends_; }

 private:
  std::string bytes_;
  std::vector<std::int64_t> ends_;
  HashedNumbers hashed_;
};

}  // namespace blocklmm
