#include "elimination.hpp"

#include <Eigen/OrderingMethods>
#include <Eigen/SparseCore>
#include <algorithm>
#include <numeric>
#include <utility>

#include "errors.hpp"
#include "tiled_matrix.hpp"

namespace blocklmm {
namespace {

// Predicted nanoseconds: of a multiplication in sparse columns (gathered and scattered, in the
// factor and in the selected inverse), and of one in dense tiles.
constexpr double kSparse = 2.0, kDense = 0.03;
constexpr double kLevel = 50;        // and of what else there is to do for an effect
constexpr double kDenseGraph = 0.4;  // above, an order has nothing to gain
constexpr Index kBitsetNodes = 20000;
constexpr std::size_t kSmallEnd = 32;  // a dense end of fewer nodes needs no early decision

using Lists = std::vector<std::vector<std::int32_t>>;

// Levels of all factors but the leaves' as nodes of a graph.
struct Nodes {
  std::vector<Index> first;  // by factor: the number of its level 0; -1 for the leaves
  std::vector<std::int32_t> factor, level;
  Index n() const { return static_cast<Index>(factor.size()); }
};

Nodes nodes_of(const Statistics& statistics, Index leaf) {
  Nodes out;
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    out.first.push_back(f == leaf ? -1 : out.n());
    if (f == leaf) continue;
    for (Index l = 0; l < statistics.factor(f).n_levels(); ++l) {
      out.factor.push_back(static_cast<std::int32_t>(f));
      out.level.push_back(static_cast<std::int32_t>(l));
    }
  }
  return out;
}

// Which nodes each leaf meets, as one list (start, node).
struct LeafGraph {
  std::vector<Index> start;
  std::vector<std::int32_t> node;
};

template <class Visit>  // visit(major factor, its level, minor factor, its level, block)
void for_each_pair(const Statistics& statistics, const Visit& visit) {
  for (const PairBlocks& pairs : statistics.pairs()) {
    const auto n_major = static_cast<Index>(pairs.start.size()) - 1;
    for (Index i = 0; i < n_major; ++i)
      for (Index at = pairs.start[static_cast<std::size_t>(i)];
           at < pairs.start[static_cast<std::size_t>(i) + 1]; ++at)
        visit(pairs, i, static_cast<Index>(pairs.level[static_cast<std::size_t>(at)]),
              pairs.values.data() + at * pairs.block_size);
  }
}

LeafGraph leaf_graph(const Statistics& statistics, Index leaf, const Nodes& nodes) {
  LeafGraph out;
  out.start.assign(static_cast<std::size_t>(statistics.factor(leaf).n_levels()) + 1, 0);
  const auto over_leaves = [&](const auto& visit) {
    for_each_pair(statistics, [&](const PairBlocks& p, Index i, Index j, const double*) {
      if (p.major == leaf) visit(i, nodes.first[static_cast<std::size_t>(p.minor)] + j);
      if (p.minor == leaf) visit(j, nodes.first[static_cast<std::size_t>(p.major)] + i);
    });
  };
  over_leaves([&](Index i, Index) { ++out.start[static_cast<std::size_t>(i) + 1]; });
  std::partial_sum(out.start.begin(), out.start.end(), out.start.begin());
  out.node.resize(static_cast<std::size_t>(out.start.back()));
  std::vector<Index> next(out.start.begin(), out.start.end() - 1);
  over_leaves([&](Index i, Index node) {
    out.node[static_cast<std::size_t>(next[static_cast<std::size_t>(i)]++)] =
        static_cast<std::int32_t>(node);
  });
  return out;
}

Lists direct_neighbours(const Statistics& statistics, Index leaf, const Nodes& nodes) {
  Lists out(static_cast<std::size_t>(nodes.n()));
  for_each_pair(statistics, [&](const PairBlocks& p, Index i, Index j, const double*) {
    if (p.major == leaf || p.minor == leaf) return;
    const Index a = nodes.first[static_cast<std::size_t>(p.major)] + i;
    const Index b = nodes.first[static_cast<std::size_t>(p.minor)] + j;
    out[static_cast<std::size_t>(a)].push_back(static_cast<std::int32_t>(b));
    out[static_cast<std::size_t>(b)].push_back(static_cast<std::int32_t>(a));
  });
  return out;
}

// The graph of the nodes once the leaves are eliminated: each leaf ties together all it meets.
class Adjacency {
 public:
  Adjacency(const LeafGraph& leaves, const Lists& direct)
      : n_(static_cast<Index>(direct.size())),
        words_(static_cast<std::size_t>((n_ + 63) / 64)),
        bits_(static_cast<std::size_t>(n_) * words_, 0) {
    for (std::size_t i = 0; i + 1 < leaves.start.size(); ++i)
      for (Index a = leaves.start[i]; a < leaves.start[i + 1]; ++a)
        for (Index b = leaves.start[i]; b < leaves.start[i + 1]; ++b)
          set(leaves.node[static_cast<std::size_t>(a)], leaves.node[static_cast<std::size_t>(b)]);
    for (std::size_t a = 0; a < direct.size(); ++a)
      for (const std::int32_t b : direct[a]) set(static_cast<std::int32_t>(a), b);
    for (Index a = 0; a < n_; ++a) set(static_cast<std::int32_t>(a), static_cast<std::int32_t>(a));
  }
  double density() const {
    Index count = 0;
    for (const std::uint64_t word : bits_) count += __builtin_popcountll(word);
    return static_cast<double>(count) / (static_cast<double>(n_) * static_cast<double>(n_));
  }
  template <class Visit>
  void for_each_edge(const Visit& visit) const {
    for (Index a = 0; a < n_; ++a)
      for (Index b = 0; b < n_; ++b)
        if (a != b &&
            bits_[static_cast<std::size_t>(a) * words_ + static_cast<std::size_t>(b / 64)] >>
                    (b % 64) &
                1)
          visit(a, b);
  }

 private:
  void set(std::int32_t a, std::int32_t b) {
    bits_[static_cast<std::size_t>(a) * words_ + static_cast<std::size_t>(b / 64)] |=
        std::uint64_t{1} << (b % 64);
  }
  Index n_;
  std::size_t words_;
  std::vector<std::uint64_t> bits_;
};

// Nodes in the order of elimination.
std::vector<std::int32_t> minimum_degree(Index n, std::vector<Eigen::Triplet<char, int>> edges) {
  Eigen::SparseMatrix<char, Eigen::ColMajor, int> graph(static_cast<int>(n), static_cast<int>(n));
  for (Index k = 0; k < n; ++k) edges.emplace_back(static_cast<int>(k), static_cast<int>(k), 1);
  graph.setFromTriplets(edges.begin(), edges.end(), [](char, char) { return char{1}; });
  edges = {};
  Eigen::PermutationMatrix<Eigen::Dynamic, Eigen::Dynamic, int> order;
  Eigen::internal::minimum_degree_ordering(graph, order);
  return {order.indices().data(), order.indices().data() + n};
}

// With few nodes from their own graph; with many from that of leaves and nodes together, whose
// edges are the pairs themselves.
std::vector<std::int32_t> order_of(const LeafGraph& leaves, const Lists& direct,
                                   const Adjacency* adjacency) {
  const auto n = static_cast<Index>(direct.size());
  std::vector<Eigen::Triplet<char, int>> edges;
  if (adjacency) {
    adjacency->for_each_edge(
        [&](Index a, Index b) { edges.emplace_back(static_cast<int>(a), static_cast<int>(b), 1); });
    return minimum_degree(n, std::move(edges));
  }
  const auto n_leaves = static_cast<Index>(leaves.start.size()) - 1;
  for (std::size_t a = 0; a < direct.size(); ++a)
    for (const std::int32_t b : direct[a]) edges.emplace_back(static_cast<int>(a), b, 1);
  for (Index i = 0; i < n_leaves; ++i)
    for (Index at = leaves.start[static_cast<std::size_t>(i)];
         at < leaves.start[static_cast<std::size_t>(i) + 1]; ++at) {
      const std::int32_t node = leaves.node[static_cast<std::size_t>(at)];
      edges.emplace_back(static_cast<int>(n + i), node, 1);
      edges.emplace_back(node, static_cast<int>(n + i), 1);
    }
  const std::vector<std::int32_t> all = minimum_degree(n + n_leaves, std::move(edges));
  std::vector<std::int32_t> out;
  for (const std::int32_t node : all)
    if (node < n) out.push_back(node);
  return out;
}

// What each node's column of the factor reaches, as positions in the order; ends with the first
// node whose column reaches all that follow, if these are many.
Lists reaches_of(const std::vector<std::int32_t>& order, const LeafGraph& leaves,
                 const Lists& direct, double memory_limit, bool is_tiny) {
  const std::size_t n = order.size();
  std::vector<std::int32_t> position(n);
  for (std::size_t k = 0; k < n; ++k)
    position[static_cast<std::size_t>(order[k])] = static_cast<std::int32_t>(k);
  Lists leaves_of(n), children(n), reaches(n);
  for (std::size_t i = 0; i + 1 < leaves.start.size(); ++i) {
    auto first = static_cast<std::int32_t>(n);
    for (Index at = leaves.start[i]; at < leaves.start[i + 1]; ++at)
      first = std::min(
          first, position[static_cast<std::size_t>(leaves.node[static_cast<std::size_t>(at)])]);
    if (first < static_cast<std::int32_t>(n))
      leaves_of[static_cast<std::size_t>(first)].push_back(static_cast<std::int32_t>(i));
  }
  std::vector<std::int32_t> seen_by(n, -1);
  double stored = 0;
  for (std::size_t k = 0; k < n; ++k) {
    const auto me = static_cast<std::int32_t>(k);
    std::vector<std::int32_t>& reach = reaches[k];
    const auto add = [&](std::int32_t other) {
      if (other <= me || seen_by[static_cast<std::size_t>(other)] == me) return;
      seen_by[static_cast<std::size_t>(other)] = me;
      reach.push_back(other);
    };
    for (const std::int32_t b : direct[static_cast<std::size_t>(order[k])])
      add(position[static_cast<std::size_t>(b)]);
    for (const std::int32_t i : leaves_of[k])
      for (Index at = leaves.start[static_cast<std::size_t>(i)];
           at < leaves.start[static_cast<std::size_t>(i) + 1]; ++at)
        add(position[static_cast<std::size_t>(leaves.node[static_cast<std::size_t>(at)])]);
    for (const std::int32_t child : children[k])
      for (const std::int32_t other : reaches[static_cast<std::size_t>(child)]) add(other);
    std::sort(reach.begin(), reach.end());
    stored += static_cast<double>(reach.size());
    const double clique = static_cast<double>(reach.size()) * static_cast<double>(reach.size());
    if (std::max(stored * 20, clique * 4) > memory_limit) throw TooLarge(stored * 20 + clique * 4);
    if (reach.size() == n - k - 1 && reach.size() >= kSmallEnd && !is_tiny) {
      reaches.resize(k + 1);
      return reaches;
    }
    if (!reach.empty()) children[static_cast<std::size_t>(reach.front())].push_back(me);
  }
  return reaches;
}

}  // namespace

void Elimination::choose_leaf(const Statistics& statistics) {
  std::vector<bool> has_nested(static_cast<std::size_t>(statistics.n_factors()), false);
  for (const PairBlocks& pairs : statistics.pairs())
    if (pairs.is_nested()) has_nested[static_cast<std::size_t>(pairs.minor)] = true;
  Index most = -1;
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const Index effects = statistics.factor(f).n_levels() * statistics.factor(f).n_random();
    if (has_nested[static_cast<std::size_t>(f)] || effects <= most) continue;
    most = effects;
    leaf = f;
  }
  n_leaves = statistics.factor(leaf).n_levels();
  leaf_width = statistics.factor(leaf).n_random();
}

Elimination::Elimination(const Statistics& statistics, double memory_limit) {
  require(statistics.n_factors() >= 1, "random effects");
  choose_leaf(statistics);
  const Nodes graph = nodes_of(statistics, leaf);
  const auto width = [&](Index node) {
    return statistics.factor(graph.factor[static_cast<std::size_t>(node)]).n_random();
  };
  for (Index k = 0; k < graph.n(); ++k) n_rest += width(k);
  const LeafGraph leaves = leaf_graph(statistics, leaf, graph);
  const Lists direct = direct_neighbours(statistics, leaf, graph);
  double leaf_cost = kLevel * static_cast<double>(leaf_width * n_leaves);
  for (std::size_t i = 0; i + 1 < leaves.start.size(); ++i) {
    const auto k = static_cast<double>(leaves.start[i + 1] - leaves.start[i]);
    leaf_cost += kSparse * static_cast<double>(leaf_width) * k * (k + 1) / 2;
  }
  const auto dense_cost = [](double n) { return kDense * n * n * n; };

  // order: all nodes, the dense ones last; n_sparse of them get columns of their own
  std::vector<std::int32_t> order(static_cast<std::size_t>(graph.n()));
  std::iota(order.begin(), order.end(), 0);
  Lists reaches;
  std::size_t n_sparse = 0;
  nanoseconds = leaf_cost + dense_cost(static_cast<double>(n_rest));
  const auto& pairs = statistics.pairs();
  const bool is_nested = std::all_of(pairs.begin(), pairs.end(),
                                     [](const PairBlocks& two) { return two.is_nested(); });
  const auto side = static_cast<double>(n_rest);
  const bool is_tiny = leaf_cost + kSparse * side * side * (side + 30) / 3 < kSmall;
  bool is_dense = !is_nested && !is_tiny && dense_cost(side) < 0.25 * leaf_cost;
  if (!is_dense) {
    const bool is_small = graph.n() <= kBitsetNodes;
    const Adjacency adjacency(is_small ? leaves : LeafGraph{}, is_small ? direct : Lists{});
    if (is_small && !is_tiny && !is_nested && adjacency.density() > kDenseGraph) is_dense = true;
    if (!is_dense) {
      order = order_of(leaves, direct, is_small ? &adjacency : nullptr);
      reaches = reaches_of(order, leaves, direct, memory_limit, is_tiny);
      // the cut with the least predicted time: columns before it are sparse, the rest is dense
      std::vector<double> left(order.size() + 1, 0);
      for (std::size_t k = order.size(); k-- > 0;)
        left[k] = left[k + 1] + static_cast<double>(width(order[k]));
      double sparse = 0, least = is_tiny ? 1e300 : dense_cost(left[0]);
      for (std::size_t k = 0; k < reaches.size(); ++k) {
        double rows = 0;
        for (const std::int32_t other : reaches[k])
          rows += static_cast<double>(width(order[static_cast<std::size_t>(other)]));
        const auto w = static_cast<double>(width(order[k]));
        sparse += kSparse * w * (rows + w) * (rows + w + 10);
        const double cost = sparse + dense_cost(left[k + 1]);
        if (cost >= least && !is_nested && !is_tiny) continue;
        least = cost;
        nanoseconds = leaf_cost + cost;
        n_sparse = k + 1;
      }
    }
  }

  // variables
  variable.resize(static_cast<std::size_t>(statistics.n_factors()));
  for (Index f = 0; f < statistics.n_factors(); ++f)
    if (f != leaf)
      variable[static_cast<std::size_t>(f)].resize(
          static_cast<std::size_t>(statistics.factor(f).n_levels()));
  std::vector<std::int32_t> first_of(order.size());  // by position
  std::int32_t next = 0;
  node_start.push_back(0);
  for (std::size_t k = 0; k < order.size(); ++k) {
    const auto node = static_cast<std::size_t>(order[k]);
    first_of[k] = next;
    variable[static_cast<std::size_t>(graph.factor[node])]
            [static_cast<std::size_t>(graph.level[node])] = next;
    const auto w = static_cast<std::int32_t>(width(order[k]));
    if (k < n_sparse) {
      nodes.push_back({graph.factor[node], graph.level[node], next, w});
      node_of.insert(node_of.end(), static_cast<std::size_t>(w), static_cast<std::int32_t>(k));
    }
    next += w;
    if (k + 1 == n_sparse) n_middle = next;
  }
  double n_entries = 0;
  for (std::size_t k = 0; k < n_sparse; ++k) {
    for (const std::int32_t other : reaches[k]) {
      const auto at = static_cast<std::size_t>(other);
      const auto w = static_cast<std::int32_t>(width(order[at]));
      for (std::int32_t c = 0; c < w; ++c) node_rows.push_back(first_of[at] + c);
    }
    node_start.push_back(static_cast<Index>(node_rows.size()));
    n_entries += static_cast<double>(node_start[k + 1] - node_start[k]) * nodes[k].width;
  }
  const auto n_end = static_cast<double>(n_dense());
  // the dense end twice: where a variance there is zero, A is kept beside its factor
  bytes = 2 * TiledMatrix::bytes(n_dense()) + 8 * 2 * n_entries;
  if (bytes > memory_limit) throw TooLarge(bytes);
  collect_leaves(statistics);

  double in_pairs = 0;
  for (const PairBlocks& two : pairs)
    in_pairs += static_cast<double>(two.n_pairs() * two.block_size);
  n_stored = static_cast<double>(leaf_rows.size()) * static_cast<double>(leaf_width) + n_entries +
             n_end * (n_end - 1) / 2;
  n_filled = std::max(n_stored - in_pairs, 0.0);
  for (Index f = 0; f < statistics.n_factors(); ++f) {
    const bool holds_all = std::all_of(pairs.begin(), pairs.end(), [&](const PairBlocks& two) {
      return (two.major != f && two.minor != f) || (two.minor == f && two.is_nested());
    });
    if (holds_all) block_factor = f;
  }
}

void Elimination::collect_leaves(const Statistics& statistics) {
  // Nodes are visited in the order of their variables, so that the rows of a leaf come sorted.
  struct Seen {
    std::int32_t variable, leaf;
    const double* block;
    std::int32_t width;
    bool leaf_is_major;
  };
  leaf_start.assign(static_cast<std::size_t>(n_leaves) + 1, 0);
  std::vector<Index> count(static_cast<std::size_t>(n_rest) + 1, 0);
  const auto over_pairs = [&](const auto& visit) {
    for_each_pair(statistics, [&](const PairBlocks& p, Index i, Index j, const double* block) {
      if (p.major != leaf && p.minor != leaf) return;
      const bool leaf_is_major = p.major == leaf;
      const auto other = static_cast<std::size_t>(leaf_is_major ? p.minor : p.major);
      const Index level = leaf_is_major ? j : i;
      visit(Seen{variable[other][static_cast<std::size_t>(level)],
                 static_cast<std::int32_t>(leaf_is_major ? i : j), block,
                 static_cast<std::int32_t>(statistics.factor(static_cast<Index>(other)).n_random()),
                 leaf_is_major});
    });
  };
  over_pairs([&](const Seen& seen) {
    leaf_start[static_cast<std::size_t>(seen.leaf) + 1] += seen.width;
    ++count[static_cast<std::size_t>(seen.variable) + 1];
  });
  std::partial_sum(leaf_start.begin(), leaf_start.end(), leaf_start.begin());
  std::partial_sum(count.begin(), count.end(), count.begin());
  std::vector<Seen> by_variable(static_cast<std::size_t>(count.back()));
  over_pairs([&](const Seen& seen) {
    by_variable[static_cast<std::size_t>(count[static_cast<std::size_t>(seen.variable)]++)] = seen;
  });
  leaf_rows.resize(static_cast<std::size_t>(leaf_start.back()));
  leaf_blocks.resize(leaf_rows.size() * static_cast<std::size_t>(leaf_width));
  std::vector<Index> next(leaf_start.begin(), leaf_start.end() - 1);
  for (const Seen& seen : by_variable) {
    Index& at = next[static_cast<std::size_t>(seen.leaf)];
    for (std::int32_t c = 0; c < seen.width; ++c, ++at) {
      leaf_rows[static_cast<std::size_t>(at)] = seen.variable + c;
      for (Index a = 0; a < leaf_width; ++a)
        leaf_blocks[static_cast<std::size_t>(at * leaf_width + a)] =
            seen.leaf_is_major ? seen.block[a + leaf_width * c] : seen.block[c + seen.width * a];
    }
  }
}

}  // namespace blocklmm
