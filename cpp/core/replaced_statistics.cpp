#include <utility>

#include "errors.hpp"
#include "statistics.hpp"

// The same rows with another response, or with other random effects: sums of the sums.

namespace blocklmm {
namespace {

// Pairs of the factors that stay, by their new numbers (-1: gone), each with its blocks changed.
template <class Change>  // change(from, to): sets to.block_size and to.values
std::vector<PairBlocks> changed_pairs(const std::vector<PairBlocks>& all,
                                      const std::vector<Index>& number, const Change& change) {
  std::vector<PairBlocks> out;
  for (const PairBlocks& from : all) {
    const Index major = number[static_cast<std::size_t>(from.major)];
    const Index minor = number[static_cast<std::size_t>(from.minor)];
    if (major < 0 || minor < 0) continue;
    PairBlocks to{major, minor, 1, from.start, from.level, {}};
    change(from, to);
    out.push_back(std::move(to));
  }
  return out;
}

}  // namespace

void Statistics::replace_response(const Response& response) {
  require(finished_ && response.Zy.size() == factors_.size(), "Z'y of each factor");
  const Index y = n_columns() - 1;
  Vector packed = cross_.total(Vector::Zero(packed_size()));
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    LevelRecords& records = factors_[f];
    const Matrix& Zy = response.Zy[f];
    require(Zy.rows() == records.n_random() && Zy.cols() == records.n_levels(), "Z'y, q x levels");
    for (Index a = 0; a < records.n_random(); ++a) {
      const Index place = records.position_of_column(a, y);
      for (Index l = 0; l < records.n_levels(); ++l) records.record(l)[place] = Zy(a, l);
      const Index column = records.columns()[static_cast<std::size_t>(a)];
      if (column != kNoColumn) packed[packed_place(y, column)] = Zy.row(a).sum();
    }
    group_fits_[f].resize(0, 0);
  }
  require(static_cast<Index>(response.x_columns.size()) == response.Xy.size(),
          "X'y of each column");
  for (std::size_t j = 0; j < response.x_columns.size(); ++j)
    packed[packed_place(y, response.x_columns[j])] = response.Xy[static_cast<Index>(j)];
  packed[packed_place(y, y)] = response.yy;
  cross_ = {};
  cross_.add(std::move(packed));
}

void Statistics::replace_totals(double shift, double sum, double plain_yy) {
  const Index y = n_columns() - 1;
  shift_[y] = shift;
  sums_[y] = sum;
  if (plan_.weight < 0) return;
  Vector plain = plain_.total(Vector::Zero(packed_size()));
  plain[packed_place(y, y)] = plain_yy;
  plain_ = {};
  plain_.add(std::move(plain));
}

// y with what the second pass took of it by groups.
Response Statistics::whole_response() const {
  const LevelRecords& records = factor(0);
  const Matrix& b = group_fits(0);
  const Index q = records.n_random(), y = n_columns() - 1;
  const Matrix C = cross_products();
  Response out{{Matrix(q, records.n_levels())}, records.columns(), {}, C(y, y)};
  out.x_columns.pop_back();
  out.Xy = C.col(y)(out.x_columns);
  for (Index l = 0; l < records.n_levels(); ++l) {
    const double* record = records.record(l);
    for (std::size_t j = 0; j < out.x_columns.size(); ++j)
      for (Index a = 0; a < q; ++a)
        out.Xy[static_cast<Index>(j)] +=
            record[records.position(a, static_cast<Index>(j))] * b(a, l);
    for (Index a = 0; a < q; ++a) {
      const double Zy = record[records.position_of_column(a, y)];
      double A_b = 0;
      for (Index c = 0; c < q; ++c) A_b += record[records.position(a, c)] * b(c, l);
      out.Zy[0](a, l) = Zy + A_b;
      out.yy += b(a, l) * (2 * Zy + A_b);
    }
  }
  return out;
}

Statistics Statistics::with_effects(const Effects& effects) const {
  if (has_group_fits()) {
    Statistics whole = *this;
    whole.replace_response(whole_response());
    return whole.with_effects(effects);
  }
  State out = state_of_totals();
  std::vector<Index> number(factors_.size(), -1);
  for (const auto& [f, K] : effects) {
    require(f >= 0 && f < n_factors() && K.rows() == factor(f).n_random() && K.cols() > 0,
            "a factor, and new effects of it");
    const LevelRecords& old = factor(f);
    const std::vector<Index>& columns = old.columns();
    const Index q = K.rows(), q_new = K.cols(), n_old = static_cast<Index>(columns.size());
    FactorState state;
    state.columns.assign(static_cast<std::size_t>(q_new), kNoColumn);
    state.columns.insert(state.columns.end(), columns.begin(), columns.end());
    state.n_random = q_new;
    state.n_levels = old.n_levels();
    const LevelRecords shape(state.columns, q_new, 0);
    state.records.resize(static_cast<std::size_t>(shape.size() * state.n_levels));
    Matrix products(q, n_old);
    for (Index l = 0; l < state.n_levels; ++l) {
      const double* from = old.record(l);
      double* to = state.records.data() + l * shape.size();
      for (Index b = 0; b < n_old; ++b)
        for (Index a = 0; a < q; ++a) products(a, b) = from[old.position(a, b)];
      const Matrix left = K.transpose() * products, own = left.leftCols(q) * K;
      to[0] = from[0];
      for (Index a = 0; a < q_new; ++a) {
        for (Index b = a; b < q_new; ++b) to[shape.position(a, b)] = own(a, b);
        for (Index b = 0; b < n_old; ++b) to[shape.position(a, q_new + b)] = left(a, b);
      }
    }
    number[static_cast<std::size_t>(f)] = static_cast<Index>(out.factors.size());
    out.factors.push_back(std::move(state));
  }
  out.pairs = changed_pairs(pairs_, number, [&](const PairBlocks& from, PairBlocks& to) {
    const Matrix& K = effects[static_cast<std::size_t>(to.major)].second;
    const Matrix& L = effects[static_cast<std::size_t>(to.minor)].second;
    to.block_size = K.cols() * L.cols();
    to.values.resize(static_cast<std::size_t>(from.n_pairs() * to.block_size));
    for (Index k = 0; k < from.n_pairs(); ++k)
      Eigen::Map<Matrix>(to.values.data() + k * to.block_size, K.cols(), L.cols()) =
          K.transpose() *
          Eigen::Map<const Matrix>(from.values.data() + k * from.block_size, K.rows(), L.rows()) *
          L;
  });
  return Statistics(std::move(out));
}

Statistics Statistics::restricted(const std::vector<Selection>& selections) const {
  require(finished_ && !has_group_fits(), "closed statistics, without group fits");
  State out = state_of_totals();
  std::vector<Index> number(factors_.size(), -1);
  for (const auto& [f, own, others] : selections) {
    require(f >= 0 && f < n_factors() && number[static_cast<std::size_t>(f)] < 0, "a factor");
    const LevelRecords& old = factor(f);
    std::vector<Index> places = own;
    places.insert(places.end(), others.begin(), others.end());
    const auto q = static_cast<Index>(own.size()), n = static_cast<Index>(places.size());
    FactorState state;
    for (std::size_t k = 0; k < places.size(); ++k) {
      const Index most = k < own.size() ? old.n_random() : static_cast<Index>(old.columns().size());
      require(places[k] >= 0 && places[k] < most, "a place among a record's columns");
      state.columns.push_back(old.columns()[static_cast<std::size_t>(places[k])]);
    }
    state.n_random = q;
    state.n_levels = old.n_levels();
    const LevelRecords shape(state.columns, q, 0);
    state.records.resize(static_cast<std::size_t>(shape.size() * state.n_levels));
    std::vector<Index> from;
    for (Index a = 0; a < q; ++a)
      for (Index b = a; b < n; ++b)
        from.push_back(
            old.position(own[static_cast<std::size_t>(a)], places[static_cast<std::size_t>(b)]));
    double* to = state.records.data();
    for (Index l = 0; l < state.n_levels; ++l) {
      const double* record = old.record(l);
      *to++ = record[0];
      for (const Index place : from) *to++ = record[place];
    }
    number[static_cast<std::size_t>(f)] = static_cast<Index>(out.factors.size());
    out.factors.push_back(std::move(state));
  }
  out.pairs = changed_pairs(pairs_, number, [&](const PairBlocks& from, PairBlocks& to) {
    const std::vector<Index>& rows = selections[static_cast<std::size_t>(to.major)].own;
    const std::vector<Index>& columns = selections[static_cast<std::size_t>(to.minor)].own;
    const Index q = factor(from.major).n_random();
    to.block_size = static_cast<Index>(rows.size() * columns.size());
    for (Index k = 0; k < from.n_pairs(); ++k)
      for (const Index b : columns)
        for (const Index a : rows)
          to.values.push_back(
              from.values[static_cast<std::size_t>(k * from.block_size + a + q * b)]);
  });
  return Statistics(std::move(out));
}

}  // namespace blocklmm
