#pragma once

#include <vector>

#include "types.hpp"

namespace blocklmm {

// One term's rows of lambda, and where its numbers start among those of all terms.
struct TermBlock {
  Index start, size;
  Index first_entry;  // of the entries of all blocks, each by columns
  Index first_pair;   // of the pairs i <= j of all blocks: those of theta
  Index n_entries() const { return size * size; }
  Index n_pairs() const { return size * (size + 1) / 2; }
};

// The blocks of the terms, side by side along the diagonal of lambda.
class Blocks {
 public:
  explicit Blocks(const std::vector<Index>& sizes);

  std::vector<TermBlock>::const_iterator begin() const { return blocks_.begin(); }
  std::vector<TermBlock>::const_iterator end() const { return blocks_.end(); }
  bool empty() const { return blocks_.empty(); }
  Index q() const { return q_; }
  Index n_entries() const { return n_entries_; }
  Index n_pairs() const { return n_pairs_; }

 private:
  std::vector<TermBlock> blocks_;
  Index q_ = 0, n_entries_ = 0, n_pairs_ = 0;
};

// The lower triangular L with LL' = FF' and a non-negative diagonal, block by block of F. A row
// that its predecessors explain to all but 1e-14 of its norm gets a zero column in L, so that a
// singular FF' has one L only. Once L has as many columns as F has that are not zero, all but 1e-7
// is enough: what is left is rounding, of which nearly dependent rows make more.
Matrix canonical_factor(const Blocks& blocks, const Matrix& F);

}  // namespace blocklmm
