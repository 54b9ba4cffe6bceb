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

using Lists = Elimination::Lists;

using Nodes = Elimination::Nodes;

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

// The order of elimination, and how many of its first nodes get sparse columns of their own: the cut
// with the least predicted time. Nested and tiny models have no dense end.
Elimination::Order order_nodes(const Statistics& statistics, Index leaf,
                               const Elimination::Nodes& graph, const std::vector<Index>& width,
                               double memory_limit) {
  const LeafGraph leaves = leaf_graph(statistics, leaf, graph);
  const Lists direct = direct_neighbours(statistics, leaf, graph);
  const auto leaf_width = static_cast<double>(statistics.factor(leaf).n_random());
  double leaf_cost = kLevel * leaf_width * static_cast<double>(statistics.factor(leaf).n_levels());
  for (std::size_t i = 0; i + 1 < leaves.start.size(); ++i) {
    const auto k = static_cast<double>(leaves.start[i + 1] - leaves.start[i]);
    leaf_cost += kSparse * leaf_width * k * (k + 1) / 2;
  }
  const auto dense_cost = [](double n) { return kDense * n * n * n; };
  const auto side = static_cast<double>(std::accumulate(width.begin(), width.end(), Index{0}));
  const auto& pairs = statistics.pairs();
  const bool is_nested = std::all_of(pairs.begin(), pairs.end(),
                                     [](const PairBlocks& two) { return two.is_nested(); });
  const bool is_tiny = leaf_cost + kSparse * side * side * (side + 30) / 3 < Elimination::kSmall;
  const bool stays_sparse = is_nested || is_tiny;

  Elimination::Order out;
  out.nodes.resize(width.size());
  std::iota(out.nodes.begin(), out.nodes.end(), 0);
  out.nanoseconds = leaf_cost + dense_cost(side);
  if (!stays_sparse && dense_cost(side) < 0.25 * leaf_cost) return out;
  const bool has_bits = graph.n() <= kBitsetNodes;
  const Adjacency adjacency(has_bits ? leaves : LeafGraph{}, has_bits ? direct : Lists{});
  if (has_bits && !stays_sparse && adjacency.density() > kDenseGraph) return out;
  out.nodes = order_of(leaves, direct, has_bits ? &adjacency : nullptr);
  out.reaches = reaches_of(out.nodes, leaves, direct, memory_limit, is_tiny);

  const auto width_at = [&](std::size_t k) {
    return static_cast<double>(width[static_cast<std::size_t>(out.nodes[k])]);
  };
  double sparse = 0, left = side, least = is_tiny ? 1e300 : dense_cost(side);
  for (std::size_t k = 0; k < out.reaches.size(); ++k) {
    double rows = 0;
    for (const std::int32_t other : out.reaches[k])
      rows += width_at(static_cast<std::size_t>(other));
    const double w = width_at(k);
    left -= w;
    sparse += kSparse * w * (rows + w) * (rows + w + 10);
    const double cost = sparse + dense_cost(left);
    if (cost >= least && !stays_sparse) continue;
    least = cost;
    out.nanoseconds = leaf_cost + cost;
    out.n_sparse = k + 1;
  }
  return out;
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
  std::vector<Index> width;
  for (const std::int32_t f : graph.factor) width.push_back(statistics.factor(f).n_random());
  const Order order = order_nodes(statistics, leaf, graph, width, memory_limit);
  nanoseconds = order.nanoseconds;
  number_variables(statistics, graph, width, order);
  // the dense end twice: where a variance there is zero, A is kept beside its factor
  bytes = 2 * TiledMatrix::bytes(n_dense()) + 8 * 2 * n_middle_entries();
  if (bytes > memory_limit) throw TooLarge(bytes);
  collect_leaves(statistics);
  count_fill(statistics);
}

void Elimination::number_variables(const Statistics& statistics, const Nodes& graph,
                                   const std::vector<Index>& width, const Order& order) {
  const auto width_of = [&](std::int32_t node) {
    return static_cast<std::int32_t>(width[static_cast<std::size_t>(node)]);
  };
  variable.resize(static_cast<std::size_t>(statistics.n_factors()));
  for (Index f = 0; f < statistics.n_factors(); ++f)
    if (f != leaf)
      variable[static_cast<std::size_t>(f)].resize(
          static_cast<std::size_t>(statistics.factor(f).n_levels()));
  std::vector<std::int32_t> first_of;  // by position
  for (std::size_t k = 0; k < order.nodes.size(); ++k) {
    const auto node = static_cast<std::size_t>(order.nodes[k]);
    const auto first = static_cast<std::int32_t>(n_rest);
    first_of.push_back(first);
    variable[static_cast<std::size_t>(graph.factor[node])]
            [static_cast<std::size_t>(graph.level[node])] = first;
    const std::int32_t w = width_of(order.nodes[k]);
    n_rest += w;
    if (k >= order.n_sparse) continue;
    nodes.push_back({graph.factor[node], first, w});
    node_of.insert(node_of.end(), static_cast<std::size_t>(w), static_cast<std::int32_t>(k));
    n_middle = n_rest;
  }
  node_start.push_back(0);
  for (std::size_t k = 0; k < order.n_sparse; ++k) {
    for (const std::int32_t other : order.reaches[k]) {
      const auto at = static_cast<std::size_t>(other);
      for (std::int32_t c = 0; c < width_of(order.nodes[at]); ++c)
        node_rows.push_back(first_of[at] + c);
    }
    node_start.push_back(static_cast<Index>(node_rows.size()));
  }
}

double Elimination::n_middle_entries() const {
  double sum = 0;
  for (std::size_t k = 0; k < nodes.size(); ++k)
    sum += static_cast<double>((node_start[k + 1] - node_start[k]) * nodes[k].width);
  return sum;
}

void Elimination::count_fill(const Statistics& statistics) {
  const auto& pairs = statistics.pairs();
  double in_pairs = 0;
  for (const PairBlocks& two : pairs)
    in_pairs += static_cast<double>(two.n_pairs() * two.block_size);
  const auto n_end = static_cast<double>(n_dense());
  n_stored = static_cast<double>(leaf_rows.size()) * static_cast<double>(leaf_width) +
             n_middle_entries() + n_end * (n_end - 1) / 2;
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
