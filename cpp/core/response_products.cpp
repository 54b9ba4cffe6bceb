#include "response_products.hpp"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstring>
#include <numeric>

#include "errors.hpp"
#include "parallel.hpp"

namespace blocklmm {
namespace {

constexpr Index kUnitRows = 128 * kBlockRows;  // as in Statistics
constexpr Index kTaskBytes = 1 << 18;  // of Z'y of the tiles that share the columns of a block

// One response or four side by side: V[r] is a row.
template <class V>
constexpr Index kWidth = static_cast<Index>(sizeof(V) / sizeof(double));
// Rows that shifts are chosen by: as many as in Statistics where there is one response.
template <class V>
constexpr Index kShiftRows = kWidth<V> == 1 ? 8 * kBlockRows : kBlockRows;
template <class V>
using Values = std::vector<V, LaneAllocator<V>>;
template <class V>
double* doubles(V* values) {
  return reinterpret_cast<double*>(values);
}
template <class V>
const double* doubles(const V* values) {
  return reinterpret_cast<const double*>(values);
}

template <class T, Index W>
void read_rows(const ResponseArray& Y, Index first, Index n, Index response, Index n_own,
               double* out) {
  const std::byte* corner = Y.data + first * Y.row_stride + response * Y.response_stride;
  if (n_own == W && Y.response_stride == static_cast<Index>(sizeof(T))) {
    for (Index r = 0; r < n; ++r, corner += Y.row_stride) {  // a row's responses are neighbours
      T values[W];
      std::memcpy(values, corner, sizeof(values));
      for (Index l = 0; l < W; ++l) out[r * W + l] = static_cast<double>(values[l]);
    }
    return;
  }
  // a few rows of each response at a time, which stay in the cache
  constexpr Index kRows = 64 / static_cast<Index>(sizeof(T));
  for (Index first_row = 0; first_row < n; first_row += kRows) {
    const Index end = std::min(n, first_row + kRows);
    for (Index l = 0; l < n_own; ++l) {
      const std::byte* at = corner + l * Y.response_stride + first_row * Y.row_stride;
      for (Index r = first_row; r < end; ++r, at += Y.row_stride) {
        T value;
        std::memcpy(&value, at, sizeof(T));
        out[r * W + l] = static_cast<double>(value);
      }
    }
  }
}

// Rows of n_own responses side by side; lanes without one are zero.
template <class V>
void read_tile(const ResponseArray& Y, Index first, Index n, Index response, Index n_own, V* tile) {
  double* out = doubles(tile);
  if (n_own < kWidth<V>) std::fill_n(out, n * kWidth<V>, 0.0);
  if (Y.is_single)
    read_rows<float, kWidth<V>>(Y, first, n, response, n_own, out);
  else
    read_rows<double, kWidth<V>>(Y, first, n, response, n_own, out);
}

// cross[j] += sum u_j y for each column, and at last sum y y: four sums by the row's number.
template <class V>
BLOCKLMM_CLONES void add_cross(const V* y, const Block& block, Index n_columns, Index n_rows,
                               V* cross) {
  static_assert(kLanes == 4, "sums in the order of add_gram");
  const Index n = (n_rows + kLanes - 1) / kLanes * kLanes;
  for (Index j = 0; j <= n_columns; ++j) {
    V s0{}, s1{}, s2{}, s3{};
    if (j < n_columns) {
      const double* u = block.column(j);
      for (Index r = 0; r < n; r += kLanes) {
        s0 += u[r] * y[r];
        s1 += u[r + 1] * y[r + 1];
        s2 += u[r + 2] * y[r + 2];
        s3 += u[r + 3] * y[r + 3];
      }
    } else {
      for (Index r = 0; r < n; r += kLanes) {
        s0 += y[r] * y[r];
        s1 += y[r + 1] * y[r + 1];
        s2 += y[r + 2] * y[r + 2];
        s3 += y[r + 3] * y[r + 3];
      }
    }
    cross[j] += (s0 + s1) + (s2 + s3);
  }
}

// Zy, q values by level, += z y of each row.
template <class V, Index Q>
BLOCKLMM_CLONES void add_levels(const V* y, const double* const* z, const std::int32_t* level,
                                Index n_rows, Index q_any, V* Zy) {
  const Index q = Q ? Q : q_any;
  for (Index r = 0; r < n_rows; ++r) {
    V* to = Zy + level[r] * q;
    for (Index a = 0; a < q; ++a) to[a] += z[a][r] * y[r];
  }
}

// y = raw - shift by rows that are kept, times the root of the weights; sums of both before that.
template <Index W>
BLOCKLMM_CLONES void place_rows(const double* raw, const std::int32_t* keep, Index n_rows,
                                const double* shift, const double* root, double* y, double* sum,
                                double* plain_yy) {
  double s[W] = {}, squares[W] = {};
  for (Index r = 0; r < n_rows; ++r) {
    const double* from = raw + keep[r] * W;
    for (Index l = 0; l < W; ++l) {
      const double value = from[l] - shift[l];
      y[r * W + l] = value;
      s[l] += value;
    }
  }
  if (root)
    for (Index r = 0; r < n_rows; ++r)
      for (Index l = 0; l < W; ++l) {
        double& value = y[r * W + l];
        squares[l] += value * value;
        value *= root[r];
      }
  for (Index l = 0; l < W; ++l) {
    sum[l] += s[l];
    plain_yy[l] += squares[l];
  }
  const Index n_padded = (n_rows + kLanes - 1) / kLanes * kLanes;
  std::fill(y + n_rows * W, y + n_padded * W, 0.0);
}

template <Index W>
BLOCKLMM_CLONES void add_finite(const double* values, Index n, double* count, double* sum) {
  for (Index r = 0; r < n; ++r)
    for (Index l = 0; l < W; ++l) {
      const double v = values[r * W + l];
      const bool is_finite = std::fabs(v) <= DBL_MAX;
      count[l] += is_finite ? 1.0 : 0.0;
      sum[l] += is_finite ? v : 0.0;
    }
}

template <Index W>
BLOCKLMM_CLONES void add_squares(const double* values, Index n, const double* mean,
                                 double* square) {
  for (Index r = 0; r < n; ++r)
    for (Index l = 0; l < W; ++l) {
      const double v = values[r * W + l], d = v - mean[l];
      square[l] += std::fabs(v) <= DBL_MAX ? d * d : 0.0;
    }
}

// The design's columns of one block of rows: U about its shifts and times the root of the weights.
class DesignBlock {
 public:
  DesignBlock(const ProductsPlan& plan, const DesignRows& rows)
      : plan_(plan),
        rows_(rows),
        needed_(plan.recipes.size(), 0),
        work_(static_cast<Index>(plan.recipes.size())),
        U(static_cast<Index>(plan.columns.size())),
        levels(plan.factors.size(), std::vector<std::int32_t>(kBlockRows)) {
    const auto need = [&](Index recipe) { needed_[static_cast<std::size_t>(recipe)] = 1; };
    std::for_each(plan.columns.begin(), plan.columns.end(), need);
    std::for_each(plan.offsets.begin(), plan.offsets.end(), need);
    if (plan.weight >= 0) need(plan.weight);
    for (std::size_t k = needed_.size(); k-- > 0;)
      if (needed_[k])
        std::for_each(plan.recipes[k].operands.begin(), plan.recipes[k].operands.end(), need);
  }

  void fill(Index first, Index n) {
    for (std::size_t k = 0; k < plan_.recipes.size(); ++k)
      if (needed_[k])
        fill_column(plan_.recipes[k], rows_.sources, first, n, static_cast<Index>(k), work_);
    n_kept = 0;
    for (Index r = 0; r < n; ++r) {
      keep[n_kept] = static_cast<std::int32_t>(r);
      n_kept += !rows_.used || rows_.used[first + r];
    }
    for (std::size_t j = 0; j < plan_.columns.size(); ++j) {
      const double* from = work_.column(plan_.columns[j]);
      double* to = U.column(static_cast<Index>(j));
      const double shift = plan_.shift[static_cast<Index>(j)];
      for (Index r = 0; r < n_kept; ++r) to[r] = from[keep[r]] - shift;
      std::fill(to + n_kept, to + kBlockRows, 0.0);
    }
    if (plan_.weight >= 0) {
      const double* w = work_.column(plan_.weight);
      for (Index r = 0; r < n_kept; ++r) root[r] = std::sqrt(w[keep[r]]);
      for (std::size_t j = 0; j < plan_.columns.size(); ++j) {
        double* u = U.column(static_cast<Index>(j));
        for (Index r = 0; r < n_kept; ++r) u[r] *= root[r];
      }
    }
    for (std::size_t f = 0; f < levels.size(); ++f)
      for (Index r = 0; r < n_kept; ++r) {
        const std::int32_t level = rows_.levels[f][first + keep[r]];
        if (level < 0 || level >= plan_.factors[f].n_levels)
          throw InvalidArgument("a level is out of range");
        levels[f][static_cast<std::size_t>(r)] = level;
      }
  }

  // Takes the offsets from rows of responses.
  template <class V>
  void take_offsets(Index n, V* tile) const {
    for (const Index recipe : plan_.offsets) {
      const double* offset = work_.column(recipe);
      for (Index r = 0; r < n; ++r) tile[r] -= offset[r];
    }
  }

 private:
  const ProductsPlan& plan_;
  const DesignRows& rows_;
  std::vector<std::uint8_t> needed_;
  Block work_;

 public:
  Block U;
  std::vector<std::vector<std::int32_t>> levels;  // by factor
  double root[kBlockRows];
  std::int32_t keep[kBlockRows];
  Index n_kept = 0;
};

template <class V>
class Tile {
 public:
  Tile(const ProductsPlan& plan, Index first, Index n_own)
      : first_response(first), n(n_own), cross_(plan.columns.size() + 1) {
    for (const auto& factor : plan.factors)
      Zy_.emplace_back(factor.columns.size() * static_cast<std::size_t>(factor.n_levels));
  }

  void add(const ProductsPlan& plan, const DesignBlock& block, const V* raw, V* y) {
    place_rows<W>(doubles(raw), block.keep, block.n_kept, shift,
                  plan.weight >= 0 ? block.root : nullptr, doubles(y), sum_, plain_yy_);
    add_cross(y, block.U, static_cast<Index>(plan.columns.size()), block.n_kept, cross_.data());
    for (std::size_t f = 0; f < Zy_.size(); ++f) {
      std::vector<const double*> z;
      for (const Index column : plan.factors[f].columns) z.push_back(block.U.column(column));
      const auto q = static_cast<Index>(z.size());
      const auto adds = q == 1   ? add_levels<V, 1>
                        : q == 2 ? add_levels<V, 2>
                        : q == 3 ? add_levels<V, 3>
                                 : add_levels<V, 0>;
      adds(y, z.data(), block.levels[f].data(), block.n_kept, q, Zy_[f].data());
    }
  }

  void end_unit() {
    Vector unit(static_cast<Index>(cross_.size()) * kWidth<V>);
    std::memcpy(unit.data(), cross_.data(), cross_.size() * sizeof(V));
    units_.add(std::move(unit));
    std::fill(cross_.begin(), cross_.end(), V{});
  }

  void store(const ProductsPlan& plan, Responses& out) const {
    const auto u = static_cast<Index>(plan.columns.size());
    const Vector cross = units_.total(Vector::Zero((u + 1) * W));
    for (Index l = 0; l < n; ++l) {
      const Index k = first_response + l;
      out.shift[k] = shift[l];
      out.sum[k] = sum_[l];
      for (Index j = 0; j < u; ++j) out.Xy(j, k) = cross[j * W + l];
      out.yy[k] = cross[u * W + l];
      out.plain_yy[k] = plan.weight >= 0 ? plain_yy_[l] : out.yy[k];
      for (std::size_t f = 0; f < Zy_.size(); ++f)
        for (std::size_t i = 0; i < Zy_[f].size(); ++i)
          out.Zy[f](static_cast<Index>(i), k) =
              doubles(Zy_[f].data())[static_cast<Index>(i) * W + l];
    }
  }

  static constexpr Index W = kWidth<V>;
  Index first_response, n;
  double shift[W] = {};

 private:
  Values<V> cross_;
  std::vector<Values<V>> Zy_;
  double sum_[W] = {}, plain_yy_[W] = {};
  PairwiseSum<Vector> units_;
};

// As Statistics::choose_shift, for the responses of a tile: near their mean over the first rows, a
// multiple of a power of two near their spread.
template <class V>
void choose_shift(const DesignRows& rows, const ResponseArray& Y, DesignBlock& block,
                  bool has_offsets, Index response, Index n_own, Values<V>& buffer, double* shift) {
  constexpr Index W = kWidth<V>;
  double count[W], sum[W], mean[W], square[W];
  Index n = std::min(rows.n, kShiftRows<V>);
  const auto over_rows = [&](const auto& visit) {
    for (Index first = 0; first < n; first += kShiftRows<V>) {
      const Index n_here = std::min(kShiftRows<V>, n - first);
      read_tile(Y, first, n_here, response, n_own, buffer.data());
      for (Index at = 0; has_offsets && at < n_here; at += kBlockRows) {
        const Index n_block = std::min(kBlockRows, n_here - at);
        block.fill(first + at, n_block);
        block.take_offsets(n_block, buffer.data() + at);
      }
      visit(doubles(buffer.data()), n_here);
    }
  };
  for (;; n = std::min(rows.n, 8 * n)) {  // a response may begin with missing values
    std::fill_n(count, W, 0.0);
    std::fill_n(sum, W, 0.0);
    over_rows([&](const double* values, Index m) { add_finite<W>(values, m, count, sum); });
    if (n == rows.n || *std::min_element(count, count + W) > 0) break;
  }
  for (Index l = 0; l < W; ++l) mean[l] = sum[l] / std::max(count[l], 1.0);
  std::fill_n(square, W, 0.0);
  if (n <= kShiftRows<V>)
    add_squares<W>(doubles(buffer.data()), n, mean, square);
  else
    over_rows([&](const double* values, Index m) { add_squares<W>(values, m, mean, square); });
  for (Index l = 0; l < n_own; ++l) {
    if (!std::isfinite(mean[l])) continue;
    const double spread = std::sqrt(square[l] / std::max(count[l], 1.0));
    const double grain = std::isnormal(spread) ? std::exp2(std::floor(std::log2(spread))) : 0.0;
    shift[l] = grain > 0 ? std::nearbyint(mean[l] / grain) * grain : mean[l];
  }
}

// Responses first, first + 1, ... by tiles that share the columns of each block of rows.
template <class V>
void run_task(const ProductsPlan& plan, const DesignRows& rows, const ResponseArray& Y, Index first,
              Index n, Responses& out) {
  DesignBlock block(plan, rows);
  Values<V> raw(static_cast<std::size_t>(plan.shifted ? kShiftRows<V> : kBlockRows));
  Values<V> y(static_cast<std::size_t>(kBlockRows));
  std::vector<Tile<V>> tiles;
  for (Index k = first; k < first + n; k += kWidth<V>) {
    tiles.emplace_back(plan, k, std::min(kWidth<V>, first + n - k));
    Tile<V>& tile = tiles.back();
    if (plan.shifted)
      choose_shift(rows, Y, block, !plan.offsets.empty(), k, tile.n, raw, tile.shift);
  }
  for (Index row = 0; row < rows.n; row += kBlockRows) {
    const Index n_rows = std::min(kBlockRows, rows.n - row);
    block.fill(row, n_rows);
    for (Tile<V>& tile : tiles) {
      read_tile(Y, row, n_rows, tile.first_response, tile.n, raw.data());
      block.take_offsets(n_rows, raw.data());
      tile.add(plan, block, raw.data(), y.data());
      if ((row + kBlockRows) % kUnitRows == 0 || row + n_rows == rows.n) tile.end_unit();
    }
  }
  for (const Tile<V>& tile : tiles) tile.store(plan, out);
}

// One response, and one row, as columns of numbers.
Source source_of(const ResponseArray& Y, Index response) {
  return {Y.data + response * Y.response_stride, Y.row_stride,
          Y.is_single ? Scalar::f32 : Scalar::f64};
}
// Its values where they stand side by side as doubles, else nothing.
const double* in_place(const ResponseArray& Y, Index response) {
  const std::byte* values = Y.data + response * Y.response_stride;
  const bool is_array = !Y.is_single && Y.row_stride == static_cast<Index>(sizeof(double)) &&
                        reinterpret_cast<std::uintptr_t>(values) % alignof(double) == 0;
  return is_array ? reinterpret_cast<const double*>(values) : nullptr;
}
Source row_of(const ResponseArray& Y, Index row) {
  return {Y.data + row * Y.row_stride, Y.response_stride, Y.is_single ? Scalar::f32 : Scalar::f64};
}

void check(const ProductsPlan& plan, const DesignRows& rows) {
  const auto n_recipes = static_cast<Index>(plan.recipes.size());
  const auto u = static_cast<Index>(plan.columns.size());
  check_recipes(plan.recipes, static_cast<Index>(rows.sources.size()));
  require(plan.shift.size() == u, "one shift for each column");
  require(plan.weight >= -1 && plan.weight < n_recipes, "the weights' recipe");
  for (const auto* recipes : {&plan.columns, &plan.offsets})
    for (const Index j : *recipes) require(j >= 0 && j < n_recipes, "a column's recipe");
  require(rows.levels.size() == plan.factors.size(), "levels of each factor");
  for (const auto& factor : plan.factors) {
    require(!factor.columns.empty() && factor.n_levels >= 0, "sizes of the plan");
    for (const Index j : factor.columns) require(j >= 0 && j < u, "a factor's column");
  }
}

}  // namespace

Response Responses::response(Index k) const {
  require(k >= 0 && k < n(), "a response's number");
  Response out;
  out.x_columns.resize(static_cast<std::size_t>(Xy.rows()));
  std::iota(out.x_columns.begin(), out.x_columns.end(), 0);
  out.Xy = Xy.col(k);
  out.yy = yy[k];
  for (std::size_t f = 0; f < Zy.size(); ++f)
    out.Zy.push_back(
        Eigen::Map<const Matrix>(Zy[f].col(k).data(), widths[f], Zy[f].rows() / widths[f]));
  return out;
}

Responses response_products(const ProductsPlan& plan, const DesignRows& rows,
                            const ResponseArray& Y, int n_threads) {
  check(plan, rows);
  Responses out;
  out.shift = Vector::Zero(Y.n);
  out.sum.resize(Y.n);
  out.plain_yy.resize(Y.n);
  out.yy.resize(Y.n);
  out.Xy.resize(static_cast<Index>(plan.columns.size()), Y.n);
  Index n_values = 1;  // of Z'y of a response
  for (const auto& factor : plan.factors) {
    const auto q = static_cast<Index>(factor.columns.size());
    out.widths.push_back(q);
    out.Zy.emplace_back(q * factor.n_levels, Y.n);
    n_values += q * factor.n_levels;
  }
  if (Y.n == 1) {
    run_task<double>(plan, rows, Y, 0, 1, out);
    return out;
  }
  const Index n_tiles = std::max<Index>(
      1, std::min<Index>(16, kTaskBytes / (n_values * static_cast<Index>(sizeof(Lanes)))));
  const Index size = n_tiles * kWidth<Lanes>, n_tasks = (Y.n + size - 1) / size;
  for_each_task(n_tasks, n_threads, [&](Index task) {
    run_task<Lanes>(plan, rows, Y, task * size, std::min(size, Y.n - task * size), out);
  });
  return out;
}

std::vector<Index> count_not_finite(const DesignRows& rows, const ResponseArray& Y, int n_threads) {
  std::vector<Index> out(static_cast<std::size_t>(Y.n), 0);
  constexpr Index kTask = 16;
  for_each_task((Y.n + kTask - 1) / kTask, n_threads, [&](Index task) {
    const Index first = task * kTask, n_own = std::min(kTask, Y.n - first);
    bool are_finite = true;
    for (Index l = 0; l < n_own && are_finite; ++l) {
      const double* values = in_place(Y, first + l);
      are_finite = values && all_finite(values, rows.n);
    }
    if (are_finite) return;
    std::vector<double> tile(static_cast<std::size_t>(kBlockRows * kTask));
    for (Index row = 0; row < rows.n; row += kBlockRows) {
      const Index n = std::min(kBlockRows, rows.n - row);
      const auto size = static_cast<std::size_t>(n * n_own);
      if (Y.row_stride < Y.response_stride) {  // response after response
        for (Index l = 0; l < n_own; ++l)
          read_numeric(source_of(Y, first + l), row, n, tile.data() + l * n);
        if (all_finite(tile.data(), n * n_own)) continue;
      } else {  // row after row
        for (Index r = 0; r < n; ++r)
          read_numeric(row_of(Y, row + r), first, n_own, tile.data() + r * n_own);
        if (all_finite(tile.data(), n * n_own)) continue;
        std::vector<double> turned(size);
        for (Index r = 0; r < n; ++r)
          for (Index l = 0; l < n_own; ++l)
            turned[static_cast<std::size_t>(l * n + r)] =
                tile[static_cast<std::size_t>(r * n_own + l)];
        std::copy(turned.begin(), turned.end(), tile.begin());
      }
      for (Index l = 0; l < n_own; ++l)
        for (Index r = 0; r < n; ++r)
          out[static_cast<std::size_t>(first + l)] +=
              (!rows.used || rows.used[row + r]) &&
              !std::isfinite(tile[static_cast<std::size_t>(l * n + r)]);
    }
  });
  return out;
}

}  // namespace blocklmm
