#include "statistics.hpp"

#include <cmath>
#include <utility>

#include "errors.hpp"
#include "row_sums.hpp"

namespace blocklmm {
namespace {

constexpr Index kUnitBlocks = 128;
constexpr Index kShiftRows = 8 * kBlockRows;

Index padded(Index n, Index to) { return (n + to - 1) / to * to; }

}  // namespace

void RowIssues::append(const RowIssues& later) {
  count += later.count;
  for (const Index row : later.first)
    if (static_cast<Index>(first.size()) < kKept) first.push_back(row);
}

struct Statistics::Unit {
  Unit(Index packed, Index n_columns, std::size_t n_sources, std::size_t n_factors)
      : cross(Vector::Zero(packed)),
        sums(Vector::Zero(n_columns)),
        missing(n_sources + n_factors),
        infinite(n_sources + 1) {}
  Vector cross, plain, sums;
  Index n_rows_used = 0;
  double log_weights = 0;
  std::vector<RowIssues> missing, infinite;
  RowIssues bad_weights;
};

struct Statistics::Scratch {
  Scratch(Index n_recipes, Index n_columns, std::size_t n_factors)
      : work(n_recipes), block(padded(n_columns, kTile)), own(n_columns), slots(n_factors) {
    for (auto& column : slots) {
      column.resize(static_cast<std::size_t>(kBlockRows));
      slot_columns.push_back(column.data());
    }
  }
  Block work, block, own;
  std::vector<std::vector<std::int64_t>> slots;  // by factor
  std::vector<const std::int64_t*> slot_columns;
  std::int64_t own_slots[kBlockRows];
  std::int32_t keep[kBlockRows], own_rows[kBlockRows];
};

Statistics::Statistics(StatisticsPlan plan) : plan_(std::move(plan)) {
  const Index u = n_columns();
  const auto n_recipes = static_cast<Index>(plan_.recipes.size());
  require(u >= 1, "sizes of the plan");
  require(plan_.shifted.size() == plan_.columns.size(), "one shift flag for each column");
  require(plan_.weight >= -1 && plan_.weight < n_recipes, "the weights' recipe");
  for (const Index j : plan_.columns) require(j >= 0 && j < n_recipes, "a column's recipe");
  check_recipes(plan_.recipes, plan_.n_sources);
  for (const FactorPlan& factor : plan_.factors) {
    for (const Index j : factor.columns) require(j >= 0 && j < u, "a factor's column");
    factors_.emplace_back(factor.columns, factor.n_random, factor.n_slots);
  }
  group_fits_.resize(factors_.size());
  const auto side = [&](Index f) {
    const FactorPlan& factor = plan_.factors[static_cast<std::size_t>(f)];
    const auto begin = factor.columns.begin();
    return LevelPairs::Side{f, {begin, begin + factor.n_random}, factor.n_slots};
  };
  for (Index f = 0; plan_.pairs && f < n_factors(); ++f)
    for (Index g = 0; g < f; ++g) open_pairs_.emplace_back(side(g), side(f));
  shift_ = sums_ = Vector::Zero(u);
  const auto n_sources = static_cast<std::size_t>(plan_.n_sources);
  missing.resize(n_sources + factors_.size());
  infinite.resize(n_sources + 1);
}

void Statistics::adopt(const Vector& shift, const Vector& response_fit,
                       std::vector<Matrix> group_fits) {
  require(shift.size() == n_columns() &&
              (response_fit.size() == n_columns() - 1 || response_fit.size() == 0),
          "one shift for each column and one coefficient for each but y");
  require(group_fits.size() == factors_.size(), "fits for each factor");
  for (Index f = 0; f < n_factors(); ++f) {
    const Matrix& fits = group_fits[static_cast<std::size_t>(f)];
    require(fits.size() == 0 ||
                (fits.rows() == factor(f).n_random() && fits.cols() == factor(f).n_levels()),
            "one fit for each slot");
  }
  group_fits_ = std::move(group_fits);
  shift_ = shift;
  response_fit_ = response_fit;
  shift_known_ = true;
}

void Statistics::grow(Index f, Index n_slots) {
  require(!finished_ && f >= 0 && f < n_factors(), "a factor of open statistics");
  if (n_slots == factor(f).n_levels()) return;
  require(group_fits(f).size() == 0, "slots for which there are fits");
  factors_[static_cast<std::size_t>(f)].grow(n_slots);
  for (LevelPairs& pairs : open_pairs_)
    if (pairs.is_of(f)) pairs.grow(f, n_slots);
}

void Statistics::choose_shift(const std::vector<Source>& sources, Index n_rows) {
  const Index u = n_columns();
  Index n = std::min(n_rows, kShiftRows);
  Vector count = Vector::Zero(u), sum = count, mean = count, square = count;
  Block work(static_cast<Index>(plan_.recipes.size()));
  const auto over_rows = [&](const auto& visit) {
    for (Index first = 0; first < n; first += kBlockRows) {
      const Index rows = std::min(kBlockRows, n - first);
      for (std::size_t k = 0; k < plan_.recipes.size(); ++k)
        fill_column(plan_.recipes[k], sources, first, rows, static_cast<Index>(k), work);
      for (Index j = 0; j < u; ++j) {
        const double* values = work.column(plan_.columns[static_cast<std::size_t>(j)]);
        for (Index r = 0; r < rows; ++r)
          if (std::isfinite(values[r])) visit(j, values[r]);
      }
    }
  };
  const auto lacks_values = [&] {
    for (Index j = 0; j < u; ++j)
      if (plan_.shifted[static_cast<std::size_t>(j)] && count[j] == 0) return true;
    return false;
  };
  for (;; n = std::min(n_rows, 8 * n)) {  // a column may begin with missing values
    count.setZero();
    sum.setZero();
    over_rows([&](Index j, double v) {
      count[j] += 1;
      sum[j] += v;
    });
    if (n == n_rows || !lacks_values()) break;
  }
  shift_known_ = !lacks_values();  // if not, none of these rows is used: the next ones choose
  mean = sum.cwiseQuotient(count.cwiseMax(1.0));
  over_rows([&](Index j, double v) { square[j] += (v - mean[j]) * (v - mean[j]); });
  for (Index j = 0; j < u; ++j) {
    if (!plan_.shifted[static_cast<std::size_t>(j)] || !std::isfinite(mean[j])) continue;
    const double spread = std::sqrt(square[j] / std::max(count[j], 1.0));
    const double grain = std::isnormal(spread) ? std::exp2(std::floor(std::log2(spread))) : 0.0;
    shift_[j] = grain > 0 ? std::nearbyint(mean[j] / grain) * grain : mean[j];
  }
}

void Statistics::run_block(const std::vector<Source>& sources, const std::vector<Source>& labels,
                           const std::vector<std::int64_t>& bases, Index first, Index n,
                           const Owner& owner, Unit* unit, Scratch& scratch) {
  Block &work = scratch.work, &block = scratch.block;
  const Index u = n_columns();
  bool complete = true;
  if (!factors_.empty()) {
    bool any_own = unit != nullptr;
    for (std::size_t f = 0; f < factors_.size(); ++f) {
      std::int64_t* slots = scratch.slots[f].data();
      const Index n_slots = factors_[f].n_levels();
      read_labels(labels[f], bases[f], first, n, slots);
      for (Index r = 0; r < n; ++r) {
        complete &= slots[r] >= 0;
        any_own |= owner.owns(slots[r]);
        if (slots[r] >= n_slots) throw InvalidArgument("a group label is out of range");
      }
    }
    if (!any_own) return;
  }
  for (std::size_t k = 0; k < plan_.recipes.size(); ++k) {
    const auto j = static_cast<Index>(k);
    fill_column(plan_.recipes[k], sources, first, n, j, work);
    complete &= all_finite(work.column(j), n);
  }
  if (plan_.weight >= 0) {
    const double* w = work.column(plan_.weight);
    for (Index r = 0; r < n; ++r) complete &= w[r] > 0;
  }

  Index n_kept = n;
  if (!complete) {
    n_kept = 0;
    for (Index r = 0; r < n; ++r) {
      bool usable = true, explained = false;
      const Index row = n_rows_seen_ + first + r;
      for (std::size_t k = 0; k < plan_.recipes.size(); ++k) {
        const double value = work.column(static_cast<Index>(k))[r];
        if (std::isfinite(value)) continue;
        usable = false;
        const Index source = plan_.recipes[k].source;
        if (!unit) continue;
        if (source < 0) {
          if (!explained) unit->infinite.back().add(row);
        } else {
          explained = true;
          auto& issues = std::isnan(value) ? unit->missing : unit->infinite;
          issues[static_cast<std::size_t>(source)].add(row);
        }
      }
      for (std::size_t f = 0; f < factors_.size(); ++f) {
        if (scratch.slots[f][static_cast<std::size_t>(r)] >= 0) continue;
        usable = false;
        if (unit) unit->missing[static_cast<std::size_t>(plan_.n_sources) + f].add(row);
      }
      if (plan_.weight >= 0 && !(work.column(plan_.weight)[r] > 0)) {
        if (unit && !std::isnan(work.column(plan_.weight)[r])) unit->bad_weights.add(row);
        usable = false;
      }
      if (usable) scratch.keep[n_kept++] = static_cast<std::int32_t>(r);
    }
    for (auto& slots : scratch.slots)
      for (Index r = 0; r < n_kept; ++r)
        slots[static_cast<std::size_t>(r)] = slots[static_cast<std::size_t>(scratch.keep[r])];
  }

  for (Index j = 0; j < u; ++j) {
    const double* from = work.column(plan_.columns[static_cast<std::size_t>(j)]);
    double* to = block.column(j);
    const double shift = shift_[j];
    if (n_kept == n)
      for (Index r = 0; r < n; ++r) to[r] = from[r] - shift;
    else
      for (Index r = 0; r < n_kept; ++r) to[r] = from[scratch.keep[r]] - shift;
    std::fill(to + n_kept, to + kBlockRows, 0.0);
  }
  if (response_fit_.size()) {
    double* y = block.column(u - 1);
    for (Index j = 0; j < u - 1; ++j) {
      if (response_fit_[j] == 0) continue;
      const double* x = block.column(j);
      for (Index r = 0; r < n_kept; ++r) y[r] -= response_fit_[j] * x[r];
    }
  }
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    const Matrix& fits = group_fits_[f];
    if (!fits.size()) continue;
    double* y = block.column(u - 1);
    const std::int64_t* slots = scratch.slots[f].data();
    for (Index a = 0; a < fits.rows(); ++a) {
      const double* z = block.column(factors_[f].columns()[static_cast<std::size_t>(a)]);
      for (Index r = 0; r < n_kept; ++r) y[r] -= fits(a, slots[r]) * z[r];
    }
  }
  if (unit) {
    for (Index j = 0; j < u; ++j) {
      const double* values = block.column(j);
      double sum = 0;
      for (Index r = 0; r < n_kept; ++r) sum += values[r];
      unit->sums[j] += sum;
    }
  }
  if (plan_.weight >= 0) {
    const Index n_tiles = padded(u, kTile) / kTile;
    if (unit) {
      if (!unit->plain.size()) unit->plain = Vector::Zero(unit->cross.size());
      add_gram(block, n_tiles, n_kept, unit->plain.data());
    }
    const double* w = work.column(plan_.weight);
    double log_weights = 0;
    for (Index r = 0; r < n_kept; ++r) {
      const double weight = w[n_kept == n ? r : scratch.keep[r]], root = std::sqrt(weight);
      log_weights += std::log(weight);
      for (Index j = 0; j < u; ++j) block.column(j)[r] *= root;
    }
    if (unit) unit->log_weights += log_weights;
  }

  if (unit) {
    unit->n_rows_used += n_kept;
    add_gram(block, padded(u, kTile) / kTile, n_kept, unit->cross.data());
  }
  add_levels(n_kept, owner, scratch);
}

void Statistics::add_levels(Index n_rows, const Owner& owner, Scratch& scratch) {
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    LevelRecords& records = factors_[f];
    const std::int64_t* slots = scratch.slots[f].data();
    Index n_own = 0;
    for (Index r = 0; r < n_rows; ++r) {
      scratch.own_rows[n_own] = static_cast<std::int32_t>(r);
      scratch.own_slots[n_own] = slots[r];
      n_own += owner.owns(slots[r]);
    }
    const OwnRows own{n_own, scratch.own_rows, scratch.own_slots};
    const std::vector<Index>& columns = records.columns();
    bool in_place = true;
    for (std::size_t j = 0; j < columns.size(); ++j)
      in_place &= columns[j] == static_cast<Index>(j);
    if (!in_place)
      for (std::size_t j = 0; j < columns.size(); ++j)
        std::copy_n(scratch.block.column(columns[j]), n_rows,
                    scratch.own.column(static_cast<Index>(j)));
    records.add(in_place ? scratch.block : scratch.own, own);
  }
  for (LevelPairs& pairs : open_pairs_)
    pairs.add(scratch.block, scratch.slot_columns, n_rows, owner);
}

void Statistics::update(const std::vector<Source>& sources, const std::vector<Source>& labels,
                        const std::vector<std::int64_t>& bases, Index n_rows, int n_threads) {
  require(!finished_, "these statistics are closed");
  require(static_cast<Index>(sources.size()) == plan_.n_sources, "one array for each source");
  require(labels.size() == factors_.size() && bases.size() == factors_.size(),
          "labels and a base for each factor");
  if (!shift_known_ && n_rows > 0) choose_shift(sources, n_rows);
  const Index u = n_columns(), packed = packed_size();
  const Index n_blocks = (n_rows + kBlockRows - 1) / kBlockRows;
  const Index n_units = (n_blocks + kUnitBlocks - 1) / kUnitBlocks;
  const Index n_workers =
      std::max<Index>(1, std::min<Index>({static_cast<Index>(n_threads), n_units, kStripes}));
  std::vector<Unit> units(static_cast<std::size_t>(n_units),
                          Unit(packed, u, sources.size(), factors_.size()));

  for_each_task(n_workers, static_cast<int>(n_workers), [&](Index worker) {
    Scratch scratch(static_cast<Index>(plan_.recipes.size()), u, factors_.size());
    const Owner owner{worker, n_workers};
    for (Index b = 0; b < n_blocks; ++b) {
      const Index i = b / kUnitBlocks, first = b * kBlockRows;
      Unit* unit = i % n_workers == worker ? &units[static_cast<std::size_t>(i)] : nullptr;
      run_block(sources, labels, bases, first, std::min(kBlockRows, n_rows - first), owner, unit,
                scratch);
    }
  });

  for (Unit& unit : units) {
    n_rows_used_ += unit.n_rows_used;
    log_weights_ += unit.log_weights;
    for (std::size_t k = 0; k < missing.size(); ++k) missing[k].append(unit.missing[k]);
    for (std::size_t k = 0; k < infinite.size(); ++k) infinite[k].append(unit.infinite[k]);
    bad_weights.append(unit.bad_weights);
    cross_.add(std::move(unit.cross));
    if (unit.plain.size()) plain_.add(std::move(unit.plain));
    sums_ += unit.sums;
  }
  n_rows_seen_ += n_rows;
}

std::vector<std::vector<Index>> Statistics::finish() {
  require(!finished_, "these statistics are closed");
  finished_ = true;
  std::vector<std::vector<Index>> kept;
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    kept.push_back(factors_[f].finish());
    Matrix& fits = group_fits_[f];
    if (!fits.size()) continue;
    for (std::size_t to = 0; to < kept[f].size(); ++to)
      fits.col(static_cast<Index>(to)) = fits.col(kept[f][to]).eval();
    fits.conservativeResize(Eigen::NoChange, static_cast<Index>(kept[f].size()));
  }
  for (LevelPairs& pairs : open_pairs_) pairs_.push_back(pairs.finish(kept));
  open_pairs_.clear();
  return kept;
}

Index Statistics::packed_size() const {
  const Index n_tiles = padded(n_columns(), kTile) / kTile;
  return n_tiles * (n_tiles + 1) / 2 * kTile * kTile;
}

Index Statistics::packed_place(Index i, Index j) {
  if (i < j) std::swap(i, j);
  const Index ti = i / kTile, tj = j / kTile;
  const Index tile = ti * (ti + 1) / 2 + tj;
  return (tile * kTile + i % kTile) * kTile + j % kTile;
}

Matrix Statistics::unpacked(const Vector& packed) const {
  const Index u = n_columns();
  Matrix C(u, u);
  for (Index i = 0; i < u; ++i)
    for (Index j = 0; j <= i; ++j) {
      C(i, j) = C(j, i) = packed[packed_place(i, j)];
    }
  return C;
}

Vector Statistics::packed(const Matrix& C) const {
  Vector out = Vector::Zero(packed_size());
  for (Index i = 0; i < n_columns(); ++i)
    for (Index j = 0; j <= i; ++j) out[packed_place(i, j)] = C(i, j);
  return out;
}

bool Statistics::has_group_fits() const {
  for (const Matrix& fits : group_fits_)
    if (fits.size()) return true;
  return false;
}

Matrix Statistics::cross_products() const {
  return unpacked(cross_.total(Vector::Zero(packed_size())));
}

Matrix Statistics::plain_cross_products() const {
  return unpacked((plan_.weight >= 0 ? plain_ : cross_).total(Vector::Zero(packed_size())));
}

Statistics::State Statistics::state_of_totals() const {
  const Vector zero = Vector::Zero(packed_size());
  return {n_columns(), n_rows_used_,       n_rows_seen_,       log_weights_, shift_,
          sums_,       cross_.total(zero), plain_.total(zero), {},           {}};
}

Statistics::State Statistics::state() const {
  State out = state_of_totals();
  for (Index f = 0; f < n_factors(); ++f)
    out.factors.push_back({factor(f).columns(), factor(f).n_random(), factor(f).n_levels(),
                           factor(f).values(), group_fits(f)});
  out.pairs = pairs_;
  return out;
}

Statistics::Statistics(State state)
    : n_rows_used_(state.n_rows_used),
      n_rows_seen_(state.n_rows_seen),
      log_weights_(state.log_weights),
      shift_known_(true),
      finished_(true),
      shift_(state.shift),
      sums_(state.sums),
      pairs_(std::move(state.pairs)) {
  plan_.columns.assign(static_cast<std::size_t>(state.n_columns), 0);
  plan_.weight = state.plain.isZero(0.0) ? -1 : 0;
  const char* sizes = "a saved state whose sizes disagree";
  require(state.shift.size() == state.n_columns && state.sums.size() == state.n_columns, sizes);
  require(state.cross.size() == packed_size() && state.plain.size() == packed_size(), sizes);
  for (FactorState& factor : state.factors) {
    for (const Index j : factor.columns)
      require(j == kNoColumn || (j >= 0 && j < state.n_columns), "a column of a saved factor");
    const Matrix& fits = factor.group_fits;
    require(!fits.size() || (fits.rows() == factor.n_random && fits.cols() == factor.n_levels),
            sizes);
    factors_.emplace_back(factor.columns, factor.n_random, factor.n_levels);
    factors_.back().restore(factor.records);
    group_fits_.push_back(std::move(factor.group_fits));
  }
  for (const PairBlocks& pairs : pairs_) {
    const Index f = pairs.major, g = pairs.minor;
    require(f >= 0 && f < n_factors() && g >= 0 && g < n_factors() && f != g, sizes);
    const Index size = this->factor(f).n_random() * this->factor(g).n_random();
    require(pairs.are_of(this->factor(f).n_levels(), this->factor(g).n_levels(), size), sizes);
  }
  cross_.add(state.cross);
  plain_.add(state.plain);
}

}  // namespace blocklmm
