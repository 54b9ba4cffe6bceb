#include "label_table.hpp"

#include <algorithm>
#include <functional>
#include <limits>

#include "errors.hpp"

namespace blocklmm {
namespace {

constexpr Index kMost = std::numeric_limits<std::int32_t>::max();
constexpr Index kPrefetch = 16;
// A range of labels may be so many times as long as there are labels, and this much longer.
constexpr double kSparsest = 8;
constexpr double kShortRange = 1 << 20;

std::uint64_t hash_of(std::int64_t label) {
  auto h = static_cast<std::uint64_t>(label) * 0x9e3779b97f4a7c15u;
  return h ^ (h >> 32);
}

std::uint64_t hash_of(std::string_view text) {
  return hash_of(static_cast<std::int64_t>(std::hash<std::string_view>()(text)));
}

}  // namespace

void IntegerLabels::code(const Source& source, const std::uint8_t* missing, Index n,
                         std::int32_t* slots) {
  std::int64_t labels[kBlockRows];
  for (Index first = 0; first < n; first += kBlockRows) {
    const Index rows = std::min(kBlockRows, n - first);
    read_labels(source, 0, first, rows, labels);
    if (missing) {  // any label that is known, or will be, stands in
      const std::uint8_t* is_missing = missing + first;
      const auto known = std::find(is_missing, is_missing + rows, 0) - is_missing;
      if (known == rows) {
        std::fill_n(slots + first, rows, -1);
        continue;
      }
      for (Index r = 0; r < rows; ++r)
        if (is_missing[r]) labels[r] = labels[known];
    }
    for (Index r = 0; r < rows;)
      r += is_hashed_ ? code_by_hash(labels + r, rows - r, slots + first + r)
                      : code_by_range(labels + r, rows - r, slots + first + r);
    if (missing)
      for (Index r = 0; r < rows; ++r)
        if (missing[first + r]) slots[first + r] = -1;
  }
}

// Makes the table reach from low to high, if that is not too far.
bool IntegerLabels::spans(std::int64_t low, std::int64_t high) {
  const auto size = static_cast<std::int64_t>(number_.size());
  const auto distance = [this](std::int64_t label) {
    return static_cast<std::uint64_t>(label) - static_cast<std::uint64_t>(low_);
  };
  if (size && low >= low_ && distance(high) < number_.size()) return true;
  std::int64_t first = low, last = high;
  if (size) {
    first = std::min(first, low_);
    last = std::max(last, low_ + size - 1);
  }
  const double span = static_cast<double>(last) - static_cast<double>(first) + 1;
  if (span > kSparsest * static_cast<double>(labels_.size()) + kShortRange) return false;
  // half as much again on the side that grows, so that it need not grow each time
  const auto room = static_cast<std::int64_t>(span / 2);
  constexpr auto kLeast = std::numeric_limits<std::int64_t>::min();
  constexpr auto kLargest = std::numeric_limits<std::int64_t>::max();
  if (size && first < low_ && first > kLeast + room) first -= room;
  if ((!size || last > low_ + size - 1) && last < kLargest - room) last += room;
  std::vector<std::int32_t> grown(static_cast<std::size_t>(last - first + 1), -1);
  if (size) std::copy(number_.begin(), number_.end(), grown.begin() + (low_ - first));
  low_ = first;
  number_ = std::move(grown);
  return true;
}

std::int32_t IntegerLabels::add(std::int64_t label) {
  require(static_cast<Index>(labels_.size()) < kMost, "fewer than 2^31 levels");
  labels_.push_back(label);
  return static_cast<std::int32_t>(labels_.size() - 1);
}

// Both return how many rows are coded: all, or those before the other way is to be taken.
Index IntegerLabels::code_by_range(const std::int64_t* labels, Index n, std::int32_t* slots) {
  const auto [low, high] = std::minmax_element(labels, labels + n);
  if (!spans(*low, *high)) {
    hash_all();
    return 0;
  }
  for (Index r = 0; r < n; ++r) {
    if (r + kPrefetch < n)
      __builtin_prefetch(&number_[static_cast<std::size_t>(labels[r + kPrefetch] - low_)], 1);
    std::int32_t& number = number_[static_cast<std::size_t>(labels[r] - low_)];
    if (number < 0) number = add(labels[r]);
    slots[r] = number;
  }
  return n;
}

Index IntegerLabels::code_by_hash(const std::int64_t* labels, Index n, std::int32_t* slots) {
  for (Index r = 0; r < n; ++r) {
    if (r + kPrefetch < n) hashed_.prefetch(hash_of(labels[r + kPrefetch]));
    if (r > 0 && labels[r] == labels[r - 1]) {
      slots[r] = slots[r - 1];
      continue;
    }
    const std::uint64_t hash = hash_of(labels[r]);
    std::int32_t number = hashed_.find(
        hash, [&](std::int32_t k) { return labels_[static_cast<std::size_t>(k)] == labels[r]; });
    if (number < 0) {
      number = add(labels[r]);
      hashed_.put(hash, number);
    }
    slots[r] = number;
    if (hashed_.is_full(static_cast<Index>(labels_.size())) && !find_range()) hash_all();
    if (!is_hashed_) return r + 1;
  }
  return n;
}

void IntegerLabels::hash_all() {
  is_hashed_ = true;
  number_ = {};
  while (hashed_.is_full(static_cast<Index>(labels_.size()))) hashed_.clear_and_grow();
  for (std::size_t k = 0; k < labels_.size(); ++k)
    hashed_.put(hash_of(labels_[k]), static_cast<std::int32_t>(k));
}

// Leaves hashing where the labels turn out to lie close together, as those of shuffled rows do once
// enough are known.
bool IntegerLabels::find_range() {
  const auto [low, high] = std::minmax_element(labels_.begin(), labels_.end());
  if (!spans(*low, *high)) return false;
  for (std::size_t k = 0; k < labels_.size(); ++k)
    number_[static_cast<std::size_t>(labels_[k] - low_)] = static_cast<std::int32_t>(k);
  is_hashed_ = false;
  hashed_ = {};
  return true;
}

std::string_view TextLabels::label(Index number) const {
  const auto k = static_cast<std::size_t>(number);
  const auto begin = static_cast<std::size_t>(k == 0 ? 0 : ends_[k - 1]);
  return {bytes_.data() + begin, static_cast<std::size_t>(ends_[k]) - begin};
}

std::int32_t TextLabels::code(std::string_view text) {
  const std::uint64_t hash = hash_of(text);
  std::int32_t number = hashed_.find(hash, [&](std::int32_t k) { return label(k) == text; });
  if (number >= 0) return number;
  require(size() < kMost, "fewer than 2^31 levels");
  number = static_cast<std::int32_t>(size());
  bytes_.append(text);
  ends_.push_back(static_cast<std::int64_t>(bytes_.size()));
  if (hashed_.is_full(size())) {
    hashed_.clear_and_grow();
    for (Index k = 0; k < size(); ++k) hashed_.put(hash_of(label(k)), static_cast<std::int32_t>(k));
  } else {
    hashed_.put(hash, number);
  }
  return number;
}

template <class Offset>
void TextLabels::code(const char* data, const Offset* offsets, const std::uint8_t* missing, Index n,
                      std::int32_t* slots) {
  Index last = -1;  // sorted rows meet the same label again and again
  const auto text_of = [&](Index r) {
    return std::string_view(data + offsets[r],
                            static_cast<std::size_t>(offsets[r + 1] - offsets[r]));
  };
  for (Index r = 0; r < n; ++r) {
    if (missing && missing[r]) {
      slots[r] = -1;
      continue;
    }
    slots[r] = last >= 0 && text_of(r) == text_of(last) ? slots[last] : code(text_of(r));
    last = r;
  }
}

template void TextLabels::code(const char*, const std::int32_t*, const std::uint8_t*, Index,
                               std::int32_t*);
template void TextLabels::code(const char*, const std::int64_t*, const std::uint8_t*, Index,
                               std::int32_t*);

}  // namespace blocklmm
