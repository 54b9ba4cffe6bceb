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
  Unit(Index packed, Index n_columns, std::size_t n_issues)
      : cross(Vector::Zero(packed)),
        sums(Vector::Zero(n_columns)),
        missing(n_issues),
        infinite(n_issues) {}
  Vector cross, plain, sums;
  Index n_rows_used = 0;
  double log_weights = 0;
  std::vector<RowIssues> missing, infinite;
  RowIssues bad_weights;
};

// The groups of one thread: stripes of consecutive slots, so that where rows come in the order of
// their groups most blocks are one thread's alone.
struct Statistics::Owner {
  Index worker, n_workers;
  bool owns(std::int64_t slot) const {
    return n_workers == 1 || (slot >= 0 && (slot >> 10) % n_workers == worker);
  }
};

struct Statistics::Scratch {
  Scratch(Index n_recipes, Index n_columns) : work(n_recipes), block(padded(n_columns, kTile)) {}
  Block work, block;
  std::int64_t slots[kBlockRows], own_slots[kBlockRows];
  std::int32_t keep[kBlockRows], own_rows[kBlockRows];
};

Statistics::Statistics(StatisticsPlan plan, Index n_slots)
    : plan_(std::move(plan)), n_slots_(n_slots) {
  const Index u = n_columns(), q = plan_.n_random;
  const auto n_recipes = static_cast<Index>(plan_.recipes.size());
  require(u >= 1 && q >= 0 && q < u && n_slots >= 0, "sizes of the plan");
  require(plan_.shifted.size() == plan_.columns.size(), "one shift flag for each column");
  require(plan_.weight >= -1 && plan_.weight < n_recipes, "the weights' recipe");
  for (const Index j : plan_.columns) require(j >= 0 && j < n_recipes, "a column's recipe");
  check_recipes(plan_.recipes, plan_.n_sources);
  record_size_ = 1 + q * u - q * (q - 1) / 2;
  records_.assign(static_cast<std::size_t>(q ? n_slots * record_size_ : 0), 0.0);
  if (!q) n_slots_ = 0;
  shift_ = sums_ = Vector::Zero(u);
  const auto n_issues = static_cast<std::size_t>(plan_.n_sources + 1);
  missing.resize(n_issues);
  infinite.resize(n_issues);
}

void Statistics::adopt(const Vector& shift, const Vector& response_fit, const Matrix& group_fits) {
  require(shift.size() == n_columns() && response_fit.size() == n_columns() - 1,
          "one shift for each column and one coefficient for each but y");
  require(
      group_fits.size() == 0 || (group_fits.rows() == n_random() && group_fits.cols() == n_slots_),
      "one fit for each slot");
  group_fits_ = group_fits;
  shift_ = shift;
  response_fit_ = response_fit;
  shift_known_ = true;
}

Index Statistics::position(Index a, Index b) const {
  if (b < a) std::swap(a, b);
  return 1 + a * n_columns() - a * (a - 1) / 2 + (b - a);
}

void Statistics::choose_shift(const std::vector<Source>& sources, Index n_rows) {
  shift_known_ = true;
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
  mean = sum.cwiseQuotient(count.cwiseMax(1.0));
  over_rows([&](Index j, double v) { square[j] += (v - mean[j]) * (v - mean[j]); });
  for (Index j = 0; j < u; ++j) {
    if (!plan_.shifted[static_cast<std::size_t>(j)] || !std::isfinite(mean[j])) continue;
    const double spread = std::sqrt(square[j] / std::max(count[j], 1.0));
    const double grain = std::isnormal(spread) ? std::exp2(std::floor(std::log2(spread))) : 0.0;
    shift_[j] = grain > 0 ? std::nearbyint(mean[j] / grain) * grain : mean[j];
  }
}

void Statistics::run_block(const std::vector<Source>& sources, const Source& labels,
                           std::int64_t base, Index first, Index n, const Owner& owner, Unit* unit,
                           Scratch& scratch) {
  Block &work = scratch.work, &block = scratch.block;
  const Index q = plan_.n_random, u = n_columns();
  bool complete = true;
  if (q) {
    read_labels(labels, base, first, n, scratch.slots);
    bool any_own = unit != nullptr;
    for (Index r = 0; r < n; ++r) {
      complete &= scratch.slots[r] >= 0;
      any_own |= owner.owns(scratch.slots[r]);
      if (scratch.slots[r] >= n_slots_) throw InvalidArgument("a group label is out of range");
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
      if (q && scratch.slots[r] < 0) {
        usable = false;
        if (unit) unit->missing.back().add(row);
      }
      if (plan_.weight >= 0 && !(work.column(plan_.weight)[r] > 0)) {
        if (unit && !std::isnan(work.column(plan_.weight)[r])) unit->bad_weights.add(row);
        usable = false;
      }
      if (usable) scratch.keep[n_kept++] = static_cast<std::int32_t>(r);
    }
    for (Index r = 0; q && r < n_kept; ++r) scratch.slots[r] = scratch.slots[scratch.keep[r]];
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
  if (group_fits_.size()) {
    double* y = block.column(u - 1);
    for (Index a = 0; a < q; ++a) {
      const double* z = block.column(a);
      for (Index r = 0; r < n_kept; ++r) y[r] -= group_fits_(a, scratch.slots[r]) * z[r];
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
  if (!q) return;
  Index n_own = 0;
  for (Index r = 0; r < n_kept; ++r) {
    const std::int64_t slot = scratch.slots[r];
    scratch.own_rows[n_own] = static_cast<std::int32_t>(r);
    scratch.own_slots[n_own] = slot;
    n_own += owner.owns(slot);
  }
  const OwnRows own{n_own, scratch.own_rows, scratch.own_slots};
  pick_add_records(q, u)(block, own, q, u, record_size_, records_.data());
}

void Statistics::update(const std::vector<Source>& sources, const Source& labels, std::int64_t base,
                        Index n_rows, int n_threads) {
  require(!finished_, "these statistics are closed");
  require(static_cast<Index>(sources.size()) == plan_.n_sources, "one array for each source");
  if (!shift_known_ && n_rows > 0) choose_shift(sources, n_rows);
  const Index u = n_columns(), packed = packed_size();
  const Index n_blocks = (n_rows + kBlockRows - 1) / kBlockRows;
  const Index n_units = (n_blocks + kUnitBlocks - 1) / kUnitBlocks;
  const Index n_workers = std::max<Index>(1, std::min<Index>(n_threads, n_units));
  std::vector<Unit> units(static_cast<std::size_t>(n_units), Unit(packed, u, missing.size()));

  for_each_task(n_workers, static_cast<int>(n_workers), [&](Index worker) {
    Scratch scratch(static_cast<Index>(plan_.recipes.size()), u);
    const Owner owner{worker, n_workers};
    for (Index b = 0; b < n_blocks; ++b) {
      const Index i = b / kUnitBlocks, first = b * kBlockRows;
      Unit* unit = i % n_workers == worker ? &units[static_cast<std::size_t>(i)] : nullptr;
      run_block(sources, labels, base, first, std::min(kBlockRows, n_rows - first), owner, unit,
                scratch);
    }
  });

  for (Unit& unit : units) {
    n_rows_used_ += unit.n_rows_used;
    log_weights_ += unit.log_weights;
    for (std::size_t k = 0; k < missing.size(); ++k) {
      missing[k].append(unit.missing[k]);
      infinite[k].append(unit.infinite[k]);
    }
    bad_weights.append(unit.bad_weights);
    cross_.add(std::move(unit.cross));
    if (unit.plain.size()) plain_.add(std::move(unit.plain));
    sums_ += unit.sums;
  }
  n_rows_seen_ += n_rows;
}

std::vector<Index> Statistics::finish() {
  require(!finished_, "these statistics are closed");
  finished_ = true;
  std::vector<Index> kept;
  for (Index i = 0; i < n_slots_; ++i) {
    if (group_rows(i) == 0) continue;
    const auto to = static_cast<Index>(kept.size());
    if (to != i) {
      std::copy_n(record(i), record_size_, records_.data() + to * record_size_);
      if (group_fits_.size()) group_fits_.col(to) = group_fits_.col(i);
    }
    kept.push_back(i);
  }
  n_slots_ = static_cast<Index>(kept.size());
  records_.resize(static_cast<std::size_t>(n_slots_ * record_size_));
  if (group_fits_.size()) group_fits_.conservativeResize(Eigen::NoChange, n_slots_);
  return kept;
}

Index Statistics::packed_size() const {
  const Index n_tiles = padded(n_columns(), kTile) / kTile;
  return n_tiles * (n_tiles + 1) / 2 * kTile * kTile;
}

Matrix Statistics::unpacked(const PairwiseSum<Vector>& sum) const {
  const Index u = n_columns();
  const Vector packed = sum.total(Vector::Zero(packed_size()));
  Matrix C(u, u);
  for (Index i = 0; i < u; ++i)
    for (Index j = 0; j <= i; ++j) {
      const Index ti = i / kTile, tj = j / kTile;
      const Index tile = ti * (ti + 1) / 2 + tj;
      C(i, j) = C(j, i) = packed[(tile * kTile + i % kTile) * kTile + j % kTile];
    }
  return C;
}

Matrix Statistics::cross_products() const { return unpacked(cross_); }

Matrix Statistics::plain_cross_products() const {
  return unpacked(plan_.weight >= 0 ? plain_ : cross_);
}

Statistics::State Statistics::state() const {
  const Vector zero = Vector::Zero(packed_size());
  return {n_columns(),        n_random(),         n_slots_, n_rows_used_,
          n_rows_seen_,       log_weights_,       shift_,   sums_,
          cross_.total(zero), plain_.total(zero), records_, group_fits_};
}

Statistics::Statistics(const State& state)
    : n_slots_(state.n_groups),
      n_rows_used_(state.n_rows_used),
      n_rows_seen_(state.n_rows_seen),
      log_weights_(state.log_weights),
      shift_known_(true),
      finished_(true),
      shift_(state.shift),
      sums_(state.sums),
      group_fits_(state.group_fits),
      records_(state.records) {
  plan_.columns.assign(static_cast<std::size_t>(state.n_columns), 0);
  plan_.n_random = state.n_random;
  plan_.weight = state.plain.isZero(0.0) ? -1 : 0;
  const Index q = state.n_random, u = state.n_columns;
  record_size_ = 1 + q * u - q * (q - 1) / 2;
  require(state.shift.size() == u && state.cross.size() == packed_size() &&
              static_cast<Index>(records_.size()) == (q ? n_slots_ * record_size_ : 0),
          "a saved state whose sizes disagree");
  cross_.add(state.cross);
  plain_.add(state.plain);
}

}  // namespace blocklmm
