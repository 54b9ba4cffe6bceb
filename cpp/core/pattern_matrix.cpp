#include "pattern_matrix.hpp"

#include <algorithm>

namespace blocklmm {
namespace {

template <Index Q>
BLOCKLMM_INLINE double dot(const double* a, const double* b, Index q_any) {
  const Index q = Q ? Q : q_any;
  double sum = 0;
  for (Index k = 0; k < q; ++k) sum += a[k] * b[k];
  return sum;
}

// The four sums at the dense end. Element (a, b), a >= b, stands at row[a] + column[b].

template <Index Q>
BLOCKLMM_CLONES void subtract_gram_at_end(const double* Y, Index q_any, Index n,
                                          const std::int64_t* row, const std::int64_t* column,
                                          double* to) {
  const Index q = Q ? Q : q_any;
  for (Index b = 0; b < n; ++b) {
    double* at = to + column[b];
    const double* y = Y + b * q;
    for (Index a = b; a < n; ++a) at[row[a]] -= dot<Q>(Y + a * q, y, q);
  }
}

template <Index Q>
BLOCKLMM_CLONES void subtract_mixed_at_end(const double* X, const double* Y, Index q_any, Index n,
                                           const std::int64_t* row, const std::int64_t* column,
                                           double* to) {
  const Index q = Q ? Q : q_any;
  for (Index b = 0; b < n; ++b) {
    double* at = to + column[b];
    for (Index a = b; a < n; ++a)
      at[row[a]] -= dot<Q>(X + a * q, Y + b * q, q) + dot<Q>(Y + a * q, X + b * q, q);
  }
}

template <Index Q>
BLOCKLMM_CLONES void multiply_half_at_end(const double* E, Index q_any, Index n,
                                          const std::int64_t* row, const std::int64_t* column,
                                          const double* from, double* V) {
  const Index q = Q ? Q : q_any;
  for (Index b = 0; b < n; ++b) {
    const double* at = from + column[b];
    double* v = V + b * q;
    const double half = 0.5 * at[row[b]];
    for (Index k = 0; k < q; ++k) v[k] += half * E[b * q + k];
    if (Q == 1) {
      double s0 = 0, s1 = 0;
      Index a = b + 1;
      for (; a + 1 < n; a += 2) {
        s0 += at[row[a]] * E[a];
        s1 += at[row[a + 1]] * E[a + 1];
      }
      if (a < n) s0 += at[row[a]] * E[a];
      v[0] += s0 + s1;
    } else {
      for (Index a = b + 1; a < n; ++a) {
        const double value = at[row[a]];
        for (Index k = 0; k < q; ++k) v[k] += value * E[a * q + k];
      }
    }
  }
}

template <Index Q>
BLOCKLMM_CLONES void multiply_at_end(const double* E, Index q_any, Index n, const std::int64_t* row,
                                     const std::int64_t* column, const double* from, double* V) {
  const Index q = Q ? Q : q_any;
  for (Index b = 0; b < n; ++b) {
    const double* at = from + column[b];
    const double* e = E + b * q;
    double* v = V + b * q;
    const double own = at[row[b]];
    for (Index k = 0; k < q; ++k) v[k] += own * e[k];
    if (Q == 1) {
      double sum = 0;
      const double e_b = e[0];
      for (Index a = b + 1; a < n; ++a) {
        const double value = at[row[a]];
        sum += value * E[a];
        V[a] += value * e_b;
      }
      v[0] += sum;
      continue;
    }
    for (Index a = b + 1; a < n; ++a) {
      const double value = at[row[a]];
      for (Index k = 0; k < q; ++k) {
        v[k] += value * E[a * q + k];
        V[a * q + k] += value * e[k];
      }
    }
  }
}

}  // namespace

PatternMatrix::PatternMatrix(const Elimination& plan, const Blas& blas, bool with_dense)
    : plan_(&plan), dense_(with_dense ? plan.n_dense() : 0, blas) {
  std::size_t squares = 0, rows = 0;
  for (std::size_t k = 0; k < plan.nodes.size(); ++k) {
    square_at_.push_back(squares);
    rows_at_.push_back(rows);
    const auto w = static_cast<std::size_t>(plan.nodes[k].width);
    squares += w * w;
    rows += static_cast<std::size_t>(plan.node_start[k + 1] - plan.node_start[k]) * w;
  }
  squares_.resize(squares);
  rows_.resize(rows);
  const TileLayout layout(plan.n_dense());
  for (Index v = 0; v < plan.n_dense(); ++v) {
    row_offset_.push_back(layout.row_offset(v));
    column_offset_.push_back(layout.column_offset(v));
  }
}

void PatternMatrix::set_zero() {
  std::fill(squares_.begin(), squares_.end(), 0.0);
  std::fill(rows_.begin(), rows_.end(), 0.0);
  dense_.set_zero();
}

template <class Visit>
void PatternMatrix::for_each_place(std::size_t node, const std::int32_t* rows, Index n_rows,
                                   const Visit& visit) const {
  const std::int32_t* at = plan_->node_rows.data() + plan_->node_start[node];
  const std::int32_t* begin = at;
  const std::int32_t* end = plan_->node_rows.data() + plan_->node_start[node + 1];
  const bool is_short = 8 * n_rows < end - at;
  for (Index k = 0; k < n_rows; ++k) {
    if (is_short)
      at = std::lower_bound(at, end, rows[k]);
    else
      while (*at != rows[k]) ++at;
    visit(k, at - begin);
  }
}

template <class Visit>
void PatternMatrix::for_each_node(const Level& level, const Visit& visit) const {
  for (Index r = 0; r < level.n_sparse;) {
    const auto node =
        static_cast<std::size_t>(plan_->node_of[static_cast<std::size_t>(level.rows[r])]);
    const Index w = plan_->nodes[node].width;
    visit(node, w, r);
    r += w;
  }
}

const PatternMatrix::Offsets& PatternMatrix::offsets_of(const Level& level) const {
  const Index n = level.n_rows - level.n_sparse;
  offsets_.row.resize(static_cast<std::size_t>(n));
  offsets_.column.resize(static_cast<std::size_t>(n));
  for (Index k = 0; k < n; ++k) {
    const auto v = static_cast<std::size_t>(level.rows[level.n_sparse + k] - plan_->n_middle);
    offsets_.row[static_cast<std::size_t>(k)] = row_offset_[v];
    offsets_.column[static_cast<std::size_t>(k)] = column_offset_[v];
  }
  return offsets_;
}

// A block goes to the column of the earlier variable.
void PatternMatrix::add_block(std::int32_t u, std::int32_t v, const double* block, Index n_u,
                              Index n_v) {
  const bool u_first = u < v;
  const std::int32_t first = u_first ? u : v, second = u_first ? v : u;
  const Index n_first = u_first ? n_u : n_v, n_second = u_first ? n_v : n_u;
  const auto value = [&](Index in_first, Index in_second) {
    return u_first ? block[in_first + n_u * in_second] : block[in_second + n_u * in_first];
  };
  if (first >= plan_->n_middle) {
    for (Index a = 0; a < n_first; ++a)
      for (Index b = 0; b < n_second; ++b)
        dense_.at(second - plan_->n_middle + b, first - plan_->n_middle + a) += value(a, b);
    return;
  }
  const auto node = static_cast<std::size_t>(plan_->node_of[static_cast<std::size_t>(first)]);
  const auto begin = plan_->node_rows.begin() + plan_->node_start[node];
  const auto end = plan_->node_rows.begin() + plan_->node_start[node + 1];
  const Index place = std::lower_bound(begin, end, second) - begin;
  for (Index a = 0; a < n_first; ++a)
    for (Index b = 0; b < n_second; ++b) rows(node)[(place + b) * n_first + a] += value(a, b);
}

template <Index Q>
void PatternMatrix::subtract_gram(const Level& level, const double* Y, Index q) {
  for_each_node(level, [&](std::size_t node, Index w, Index r) {
    double *own = square(node), *column = rows(node);
    for (Index c = 0; c < w; ++c)
      for (Index d = 0; d < w; ++d) own[c * w + d] -= dot<Q>(Y + (r + c) * q, Y + (r + d) * q, q);
    const Index next = r + w;
    for_each_place(node, level.rows + next, level.n_rows - next, [&](Index k, Index place) {
      for (Index c = 0; c < w; ++c)
        column[place * w + c] -= dot<Q>(Y + (next + k) * q, Y + (r + c) * q, q);
    });
  });
  const Index n = level.n_rows - level.n_sparse;
  if (n == 0) return;
  const Offsets& at = offsets_of(level);
  subtract_gram_at_end<Q>(Y + level.n_sparse * q, q, n, at.row.data(), at.column.data(),
                          dense_.data());
}

template <Index Q>
void PatternMatrix::subtract_mixed(const Level& level, const double* X, const double* Y, Index q) {
  const auto mixed = [&](Index r, Index s) {
    return dot<Q>(X + r * q, Y + s * q, q) + dot<Q>(Y + r * q, X + s * q, q);
  };
  for_each_node(level, [&](std::size_t node, Index w, Index r) {
    double *own = square(node), *column = rows(node);
    for (Index c = 0; c < w; ++c)
      for (Index d = 0; d < w; ++d) own[c * w + d] -= mixed(r + c, r + d);
    const Index next = r + w;
    for_each_place(node, level.rows + next, level.n_rows - next, [&](Index k, Index place) {
      for (Index c = 0; c < w; ++c) column[place * w + c] -= mixed(next + k, r + c);
    });
  });
  const Index n = level.n_rows - level.n_sparse;
  if (n == 0) return;
  const Offsets& at = offsets_of(level);
  subtract_mixed_at_end<Q>(X + level.n_sparse * q, Y + level.n_sparse * q, q, n, at.row.data(),
                           at.column.data(), dense_.data());
}

template <Index Q, bool kWhole>
void PatternMatrix::multiply_any(const Level& level, const double* E, Index q, double* V) const {
  std::fill(V, V + level.n_rows * q, 0.0);
  constexpr double own_weight = kWhole ? 1.0 : 0.5;
  for_each_node(level, [&](std::size_t node, Index w, Index r) {
    const double *own = square(node), *column = rows(node);
    for (Index c = 0; c < w; ++c)
      for (Index d = 0; d < w; ++d)
        for (Index k = 0; k < q; ++k)
          V[(r + c) * q + k] += own_weight * own[c * w + d] * E[(r + d) * q + k];
    const Index next = r + w;
    for_each_place(node, level.rows + next, level.n_rows - next, [&](Index a, Index place) {
      for (Index c = 0; c < w; ++c) {
        const double value = column[place * w + c];
        for (Index k = 0; k < q; ++k) {
          V[(r + c) * q + k] += value * E[(next + a) * q + k];
          if (kWhole) V[(next + a) * q + k] += value * E[(r + c) * q + k];
        }
      }
    });
  });
  const Index n = level.n_rows - level.n_sparse;
  if (n == 0) return;
  const Offsets& at = offsets_of(level);
  constexpr auto at_end = kWhole ? multiply_at_end<Q> : multiply_half_at_end<Q>;
  at_end(E + level.n_sparse * q, q, n, at.row.data(), at.column.data(), dense_.data(),
         V + level.n_sparse * q);
}

template <Index Q>
void PatternMatrix::multiply(const Level& level, const double* E, Index q, double* V) const {
  multiply_any<Q, true>(level, E, q, V);
}

template <Index Q>
void PatternMatrix::multiply_half(const Level& level, const double* E, Index q, double* V) const {
  multiply_any<Q, false>(level, E, q, V);
}

#define BLOCKLMM_INSTANTIATE(Q)                                                                \
  template void PatternMatrix::subtract_gram<Q>(const Level&, const double*, Index);           \
  template void PatternMatrix::subtract_mixed<Q>(const Level&, const double*, const double*,   \
                                                 Index);                                       \
  template void PatternMatrix::multiply<Q>(const Level&, const double*, Index, double*) const; \
  template void PatternMatrix::multiply_half<Q>(const Level&, const double*, Index, double*) const;
BLOCKLMM_INSTANTIATE(0)
BLOCKLMM_INSTANTIATE(1)
BLOCKLMM_INSTANTIATE(2)
BLOCKLMM_INSTANTIATE(3)
BLOCKLMM_INSTANTIATE(4)
#undef BLOCKLMM_INSTANTIATE

}  // namespace blocklmm
