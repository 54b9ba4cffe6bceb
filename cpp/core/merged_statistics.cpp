#include <algorithm>
#include <numeric>
#include <utility>

#include "errors.hpp"
#include "statistics.hpp"

// Statistics of several sets of rows are sums, once they are about the same shift.
//
// A column is about its shift where 1 is a combination U e of the set's columns: u_j - delta 1 is
// then U (I - e delta e_j'), and so is a product of indicators and a covariate about another centre.
// With U_new = U M, and M_f the same for the columns of factor f's records, K_f for its own Z,
//
//     C_new = M'CM,   records: K_f'(Z_i'U_i)M_f,   pairs: K_f'(Z_i'Z_j)K_g,   sums: M'U'1
//
// M differs from the identity by multiples of columns that are near zero on average: nothing
// cancels that was there.

namespace blocklmm {
namespace {

bool is_identity(const Matrix& M) { return M.isIdentity(0.0); }

}  // namespace

Statistics Statistics::in_columns(const Matrix& M, const std::vector<Matrix>& M_by_factor,
                                  const Vector& shift) const {
  const Index u = n_columns();
  require(finished_ && !has_group_fits(), "closed statistics, without group fits");
  require(
      M.rows() == u && M.cols() == u && shift.size() == u && M_by_factor.size() == factors_.size(),
      "new columns of each record and of all");
  Statistics out = *this;
  out.shift_ = shift;
  out.sums_ = M.transpose() * sums_;
  out.cross_ = {};
  out.cross_.add(packed(M.transpose() * cross_products() * M));
  if (plan_.weight >= 0) {
    out.plain_ = {};
    out.plain_.add(packed(M.transpose() * plain_cross_products() * M));
  }
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    LevelRecords& records = out.factors_[f];
    const Matrix& M_f = M_by_factor[f];
    const Index q = records.n_random(), n = static_cast<Index>(records.columns().size());
    require(M_f.rows() == n && M_f.cols() == n && M_f.bottomLeftCorner(n - q, q).isZero(0.0),
            "new columns of a record, those of Z among themselves");
    if (is_identity(M_f)) continue;
    const Matrix K = M_f.topLeftCorner(q, q);
    Matrix products(q, n);
    for (Index i = 0; i < records.n_levels(); ++i) {
      double* record = records.record(i);
      for (Index a = 0; a < q; ++a)
        for (Index b = 0; b < n; ++b) products(a, b) = record[records.position(a, b)];
      products = (K.transpose() * products * M_f).eval();
      for (Index a = 0; a < q; ++a)
        for (Index b = a; b < n; ++b) record[records.position(a, b)] = products(a, b);
    }
  }
  for (PairBlocks& pairs : out.pairs_) {
    const auto own = [&](Index f) {
      const Index q = factor(f).n_random();
      return Matrix(M_by_factor[static_cast<std::size_t>(f)].topLeftCorner(q, q));
    };
    const Matrix K = own(pairs.major), L = own(pairs.minor);
    if (is_identity(K) && is_identity(L)) continue;
    for (Index k = 0; k < pairs.n_pairs(); ++k) {
      Eigen::Map<Matrix> block(pairs.values.data() + k * pairs.block_size, K.rows(), L.rows());
      block = (K.transpose() * block * L).eval();
    }
  }
  return out;
}

void Statistics::merge(const Statistics& other, const std::vector<std::vector<Index>>& levels) {
  require(finished_ && other.finished_ && !has_group_fits() && !other.has_group_fits(),
          "closed statistics, without group fits");
  // those of no row may have lost that they are weighted
  const bool one_is_empty = n_rows_used_ == 0 || other.n_rows_used_ == 0;
  require(other.n_columns() == n_columns() && other.n_factors() == n_factors() &&
              (one_is_empty || (other.plan_.weight >= 0) == (plan_.weight >= 0)) &&
              other.shift_ == shift_,
          "statistics of the same columns about the same shift");
  if (n_rows_used_ == 0) plan_.weight = other.plan_.weight;
  require(levels.size() == factors_.size(), "levels of each factor");

  std::vector<std::vector<Index>> same, all;  // levels as they are here, and all there will be
  for (std::size_t f = 0; f < factors_.size(); ++f) {
    LevelRecords& records = factors_[f];
    Index n = records.n_levels();
    same.emplace_back(static_cast<std::size_t>(n));
    for (const Index level : levels[f]) n = std::max(n, level + 1);
    records.grow(n);
    records.merge(other.factors_[f], levels[f]);
    all.emplace_back(static_cast<std::size_t>(n));
    std::iota(same[f].begin(), same[f].end(), 0);
    std::iota(all[f].begin(), all[f].end(), 0);
    for (Index i = 0; i < n; ++i) require(records.n_rows(i) > 0, "no level without rows");
  }
  require(pairs_.size() == other.pairs_.size(), "pairs of the same factors");
  for (std::size_t k = 0; k < pairs_.size(); ++k) {
    const auto side = [&](Index f) {
      const LevelRecords& records = factor(f);
      return LevelPairs::Side{f, std::vector<Index>(static_cast<std::size_t>(records.n_random())),
                              records.n_levels()};
    };
    const Index f = std::min(pairs_[k].major, pairs_[k].minor);
    const Index g = std::max(pairs_[k].major, pairs_[k].minor);
    LevelPairs sum(side(f), side(g));
    sum.add(pairs_[k], same);
    sum.add(other.pairs_[k], levels);
    pairs_[k] = sum.finish(all);
  }
  cross_.add(other.cross_.total(Vector::Zero(packed_size())));
  if (plan_.weight >= 0) plain_.add(other.plain_.total(Vector::Zero(packed_size())));
  sums_ += other.sums_;
  n_rows_used_ += other.n_rows_used_;
  n_rows_seen_ += other.n_rows_seen_;
  log_weights_ += other.log_weights_;
}

}  // namespace blocklmm
