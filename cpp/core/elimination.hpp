#pragma once

#include <cstdint>
#include <vector>

#include "statistics.hpp"

// In which order the random effects of several grouping factors are eliminated, and what fills in.
//
//     leaves    the levels of one factor, never coupled among themselves: the factor with the most
//               effects, unless another one is nested in it
//     middle    levels of the other factors in a minimum-degree order (Amestoy, Davis & Duff 1996),
//               as long as their columns of the factor stay sparse; nested levels fill in nothing
//     dense     the rest, where sparse columns would cost more than a dense block
//
// The variables of middle and dense are numbered in the order of elimination, those of a level
// side by side. Which levels go to the dense end is decided by the predicted time of both ways.

namespace blocklmm {

// A model whose factor needs more memory than there is.
class TooLarge : public std::runtime_error {
 public:
  explicit TooLarge(double predicted)
      : std::runtime_error("the factor would need " + std::to_string(predicted / 1e9) + " GB"),
        bytes(predicted) {}
  double bytes;
};

struct Elimination {
  // memory_limit: bytes that the numerical factor may take.
  Elimination(const Statistics& statistics, double memory_limit);

  Index leaf = 0;  // the factor whose levels are the leaves
  Index n_leaves = 0, leaf_width = 0;
  // By factor and level, its first variable; empty for the leaves.
  std::vector<std::vector<std::int32_t>> variable;
  Index n_rest = 0, n_middle = 0;  // variables that are no leaves; those before the dense end
  Index n_dense() const { return n_rest - n_middle; }

  // The variables that each leaf meets, ascending, and Z_leaf'z of each (leaf_width values).
  std::vector<Index> leaf_start;
  std::vector<std::int32_t> leaf_rows;
  std::vector<double> leaf_blocks;

  // Middle levels in the order of elimination: later variables that their columns reach.
  struct Node {
    std::int32_t factor, first, width;
  };
  std::vector<Node> nodes;
  std::vector<Index> node_start;  // in node_rows
  std::vector<std::int32_t> node_rows;
  std::vector<std::int32_t> node_of;  // by middle variable

  Index block_factor = -1;  // V is block diagonal by it: all others are nested in it
  double n_stored = 0;      // entries of the factor below the blocks of the diagonal
  double n_filled = 0;      // those that were not in Z'Z
  double bytes = 0;         // predicted memory of the numerical factor
  double nanoseconds = 0;   // predicted time of an evaluation with its gradient
  // So fast that exact Hessians, which cost as much again for each covariance, may end a descent; and
  // without a dense end, whose variances would have to be regular.
  bool is_small() const { return n_dense() == 0 && nanoseconds < kSmall; }
  static constexpr double kSmall = 5e5;

  // Levels of all factors but the leaves' as nodes of a graph.
  struct Nodes {
    std::vector<Index> first;  // by factor: the number of its level 0; -1 for the leaves
    std::vector<std::int32_t> factor, level;
    Index n() const { return static_cast<Index>(factor.size()); }
  };
  // All nodes as they are eliminated: n_sparse with columns of their own, the dense ones last; and
  // for each of the former the later positions that its column reaches.
  using Lists = std::vector<std::vector<std::int32_t>>;
  struct Order {
    std::vector<std::int32_t> nodes;
    Lists reaches;
    std::size_t n_sparse = 0;
    double nanoseconds = 0;
  };

 private:
  void choose_leaf(const Statistics& statistics);
  void number_variables(const Statistics& statistics, const Nodes& graph,
                        const std::vector<Index>& width, const Order& order);
  double n_middle_entries() const;
  void collect_leaves(const Statistics& statistics);
  void count_fill(const Statistics& statistics);
};

}  // namespace blocklmm
