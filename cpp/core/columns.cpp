#include "columns.hpp"

#include <algorithm>
#include <cfloat>
#include <cstring>
#include <limits>

#include "errors.hpp"

namespace blocklmm {
namespace {

template <class T, class Out>
void copy_rows(const Source& source, Index first, Index n, Out* out) {
  const std::byte* row = source.data + first * source.stride;
  if (source.stride == static_cast<Index>(sizeof(T)) &&
      reinterpret_cast<std::uintptr_t>(row) % alignof(T) == 0) {
    const T* values = reinterpret_cast<const T*>(row);
    for (Index r = 0; r < n; ++r) out[r] = static_cast<Out>(values[r]);
    return;
  }
  for (Index r = 0; r < n; ++r, row += source.stride) {
    T value;
    std::memcpy(&value, row, sizeof(T));
    out[r] = static_cast<Out>(value);
  }
}

template <class Out>
void copy_any(const Source& source, Index first, Index n, Out* out) {
  switch (source.type) {
    case Scalar::f64: return copy_rows<double>(source, first, n, out);
    case Scalar::f32: return copy_rows<float>(source, first, n, out);
    case Scalar::i64: return copy_rows<std::int64_t>(source, first, n, out);
    case Scalar::i32: return copy_rows<std::int32_t>(source, first, n, out);
    case Scalar::i16: return copy_rows<std::int16_t>(source, first, n, out);
    case Scalar::i8: return copy_rows<std::int8_t>(source, first, n, out);
    case Scalar::u64: return copy_rows<std::uint64_t>(source, first, n, out);
    case Scalar::u32: return copy_rows<std::uint32_t>(source, first, n, out);
    case Scalar::u16: return copy_rows<std::uint16_t>(source, first, n, out);
    case Scalar::u8:
    case Scalar::boolean: return copy_rows<std::uint8_t>(source, first, n, out);
  }
}

}  // namespace

void read_numeric(const Source& source, Index first, Index n, double* out) {
  copy_any(source, first, n, out);
}

void read_labels(const Source& source, std::int64_t base, Index first, Index n, std::int64_t* out) {
  copy_any(source, first, n, out);
  for (Index r = 0; r < n; ++r) out[r] -= base;
}

BLOCKLMM_CLONES
bool all_finite(const double* values, Index n) {
  int bad = 0;
  for (Index r = 0; r < n; ++r) bad |= !(std::fabs(values[r]) <= DBL_MAX);
  return bad == 0;
}

void fill_column(const Recipe& recipe, const std::vector<Source>& sources, Index first, Index n,
                 Index j, Block& block) {
  double* out = block.column(j);
  switch (recipe.kind) {
    case Recipe::Kind::constant: std::fill_n(out, n, 1.0); return;
    case Recipe::Kind::numeric:
      read_numeric(sources[static_cast<std::size_t>(recipe.source)], first, n, out);
      return;
    case Recipe::Kind::lookup: {
      std::int64_t codes[kBlockRows];
      read_labels(sources[static_cast<std::size_t>(recipe.source)], 0, first, n, codes);
      const auto n_codes = static_cast<std::int64_t>(recipe.table.size());
      for (Index r = 0; r < n; ++r) {
        if (codes[r] >= n_codes) throw InvalidArgument("a category code is beyond its table");
        out[r] = codes[r] < 0 ? std::numeric_limits<double>::quiet_NaN()
                              : recipe.table[static_cast<std::size_t>(codes[r])];
      }
      return;
    }
    case Recipe::Kind::product:
      std::copy_n(block.column(recipe.operands[0]), n, out);
      for (std::size_t k = 1; k < recipe.operands.size(); ++k) {
        const double* factor = block.column(recipe.operands[k]);
        for (Index r = 0; r < n; ++r) out[r] *= factor[r];
      }
      return;
    case Recipe::Kind::difference: {
      const double* a = block.column(recipe.operands[0]);
      const double* b = block.column(recipe.operands[1]);
      for (Index r = 0; r < n; ++r) out[r] = a[r] - b[r];
      return;
    }
    case Recipe::Kind::centred: {
      const double* a = block.column(recipe.operands[0]);
      for (Index r = 0; r < n; ++r) out[r] = a[r] - recipe.table[0];
      return;
    }
  }
}

void fill_matrix(const std::vector<Recipe>& recipes, const std::vector<Index>& columns,
                 const std::vector<Source>& sources, Index n, double* out) {
  check_recipes(recipes, static_cast<Index>(sources.size()));
  std::vector<std::uint8_t> needed(recipes.size(), 0);
  for (const Index j : columns) {
    require(j >= 0 && j < static_cast<Index>(recipes.size()), "a column's recipe");
    needed[static_cast<std::size_t>(j)] = 1;
  }
  for (std::size_t k = recipes.size(); k-- > 0;)
    if (needed[k])
      for (const Index operand : recipes[k].operands) needed[static_cast<std::size_t>(operand)] = 1;
  Block work(static_cast<Index>(recipes.size()));
  const auto width = static_cast<Index>(columns.size());
  for (Index first = 0; first < n; first += kBlockRows) {
    const Index rows = std::min(kBlockRows, n - first);
    for (std::size_t k = 0; k < recipes.size(); ++k)
      if (needed[k]) fill_column(recipes[k], sources, first, rows, static_cast<Index>(k), work);
    for (Index j = 0; j < width; ++j) {
      const double* values = work.column(columns[static_cast<std::size_t>(j)]);
      for (Index r = 0; r < rows; ++r) out[(first + r) * width + j] = values[r];
    }
  }
}

void check_recipes(const std::vector<Recipe>& recipes, Index n_sources) {
  for (std::size_t j = 0; j < recipes.size(); ++j) {
    const Recipe& recipe = recipes[j];
    const bool reads = recipe.kind == Recipe::Kind::numeric || recipe.kind == Recipe::Kind::lookup;
    require(!reads || (recipe.source >= 0 && recipe.source < n_sources), "a recipe's source");
    const bool is_difference = recipe.kind == Recipe::Kind::difference;
    const bool is_centred = recipe.kind == Recipe::Kind::centred;
    const bool combines = recipe.kind == Recipe::Kind::product || is_difference || is_centred;
    require(!combines || recipe.operands.size() >= (is_difference ? 2u : 1u),
            "a recipe's operands");
    require(!is_centred || recipe.table.size() == 1, "what a recipe subtracts");
    for (const Index k : recipe.operands)
      require(k >= 0 && k < static_cast<Index>(j), "a recipe's operands");
  }
}

}  // namespace blocklmm
