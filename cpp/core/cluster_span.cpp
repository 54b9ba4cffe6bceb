#include "cluster_span.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "errors.hpp"
#include "singular_vectors.hpp"

namespace blocklmm {
namespace {

std::size_t at(Index i) { return static_cast<std::size_t>(i); }

Index place_of(const std::vector<Index>& columns, Index column) {
  const auto found = std::find(columns.begin(), columns.end(), column);
  require(found != columns.end(), "a column that the records of a factor lack");
  return static_cast<Index>(found - columns.begin());
}

// [Z X]'[Z X u] (m x (m + 1), upper triangle) becomes [R O'u], without the rows of R that are zero.
// Returns how many are left, and in rank_z those that the first n_z columns reach.
Index factor_in_place(Matrix& gram, Index n_z, double n_rows, Index& rank_z) {
  // each sum of n_rows products may be off by as many roundings
  const double rounding = (8 + n_rows) * std::numeric_limits<double>::epsilon();
  const Index m = gram.cols() - 1;
  Index rank = rank_z = 0;
  for (Index j = 0; j < m; ++j) {
    if (j == n_z) rank_z = rank;
    double pivot = gram(j, j);
    for (Index k = 0; k < rank; ++k) pivot -= gram(k, j) * gram(k, j);
    if (!(pivot > rounding * gram(j, j))) {
      gram.col(j).tail(m - rank).setZero();
      continue;
    }
    const double root = std::sqrt(pivot);
    for (Index l = j + 1; l <= m; ++l) {
      double sum = gram(j, l);
      for (Index k = 0; k < rank; ++k) sum -= gram(k, j) * gram(k, l);
      gram(j, l) = sum / root;
    }
    // row j of R moves up to the rows that are kept; what stood there is used up
    for (Index l = j + 1; l <= m; ++l) gram(rank, l) = gram(j, l);
    gram.col(j).tail(m - rank).setZero();
    gram(rank, j) = root;
    ++rank;
  }
  if (n_z == m) rank_z = rank;
  return rank;
}

}  // namespace

ClusterSpans::ClusterSpans(const Statistics& rows, const Statistics& pairs, ClusterFit fit,
                           const Blas& blas)
    : rows_(rows),
      pairs_(pairs),
      own_(rows.factor(fit.cluster)),
      fit_(std::move(fit)),
      blas_(blas) {
  const auto q_all = static_cast<Index>(fit_.z_columns.size());
  require(static_cast<Index>(fit_.members.size()) == rows.n_factors() &&
              pairs.n_factors() == rows.n_factors() && pairs.n_rows_used() == rows.n_rows_used(),
          "statistics of the same rows and factors");
  require(fit_.lambda.rows() == q_all && fit_.lambda.cols() == q_all && fit_.N.rows() == p() &&
              fit_.N.cols() == p(),
          "shapes of lambda and N");
  for (const auto& own : fit_.members)
    for (const Index row : own) require(row >= 0 && row < q_all, "a row of lambda");
  const std::vector<Index>& recorded = own_.columns();
  require(own_.n_random() == static_cast<Index>(recorded.size()),
          "records with all cross products");
  const std::vector<Index>& own = fit_.members[at(fit_.cluster)];
  own_lambda_ = fit_.lambda(own, own);
  for (const Index row : own) own_z_.push_back(place_of(recorded, fit_.z_columns[at(row)]));
  for (const Index column : fit_.x_columns) {
    const Index found = place_of(recorded, column);
    const auto in_z = std::find(own_z_.begin(), own_z_.end(), found);
    if (in_z != own_z_.end()) {
      x_place_.push_back(static_cast<Index>(in_z - own_z_.begin()));
    } else {
      x_place_.push_back(static_cast<Index>(own_z_.size() + own_x_.size()));
      own_x_.push_back(found);
    }
  }
  std::vector<Index> columns = own_z_;
  columns.insert(columns.end(), own_x_.begin(), own_x_.end());
  const Index u = place_of(recorded, rows.n_columns() - 1);
  for (const Index b : columns)
    for (const Index a : columns) gram_.push_back(own_.position(a, b));
  for (const Index a : columns) gram_.push_back(own_.position(a, u));
  gram_.push_back(own_.position(u, u));
  for (Index f = 0; f < rows.n_factors(); ++f) {
    knows_effects_ &= rows.group_fits(f).size() > 0;
    if (f != fit_.cluster) find_inner(f);
  }
}

void ClusterSpans::find_inner(Index factor) {
  const LevelRecords& records = rows_.factor(factor);
  const std::vector<Index>& own = fit_.members[at(factor)];
  Inner inner;
  inner.factor = factor;
  inner.lambda = fit_.lambda(own, own);
  inner.cluster.assign(at(records.n_levels()), -1);
  for (const PairBlocks& pairs : pairs_.pairs()) {
    const bool is_major = pairs.major == factor && pairs.minor == fit_.cluster;
    if (!is_major && !(pairs.minor == factor && pairs.major == fit_.cluster)) continue;
    for (std::size_t i = 0; i + 1 < pairs.start.size(); ++i)
      for (Index k = pairs.start[i]; k < pairs.start[i + 1]; ++k) {
        const Index met = pairs.level[at(k)], level = is_major ? static_cast<Index>(i) : met;
        require(inner.cluster[at(level)] < 0, "a factor that is nested in the clusters");
        inner.cluster[at(level)] = is_major ? met : static_cast<Index>(i);
      }
  }
  inner.start.assign(at(n_clusters() + 1), 0);
  for (const Index i : inner.cluster) {
    require(i >= 0, "the pairs of levels of all factors");
    ++inner.start[at(i + 1)];
  }
  for (std::size_t i = 1; i < inner.start.size(); ++i) inner.start[i] += inner.start[i - 1];
  std::vector<Index> next = inner.start;
  inner.levels.resize(inner.cluster.size());
  for (std::size_t l = 0; l < inner.cluster.size(); ++l) {
    const std::size_t i = at(inner.cluster[l]);
    inner.place.push_back(next[i] - inner.start[i]);
    inner.levels[at(next[i]++)] = static_cast<Index>(l);
  }
  const Index q = inner.q();
  require(records.n_random() == q, "records of a factor's own columns of Z");
  for (Index b = 0; b < q; ++b)
    for (Index a = 0; a < q; ++a) inner.A.push_back(records.position(a, b));
  // X as it stands in the cluster's own columns, the last is u
  for (Index a = 0; a < q; ++a) {
    for (const Index place : own_x_)
      inner.others.push_back(records.position_of_column(a, own_.columns()[at(place)]));
    inner.others.push_back(records.position_of_column(a, rows_.n_columns() - 1));
  }
  inner_.push_back(std::move(inner));
}

Index ClusterSpans::n_inner_effects(Index cluster) const {
  Index n = 0;
  for (const Inner& inner : inner_) n += inner.n_effects(cluster);
  return n;
}

Index ClusterSpans::largest_side() const {
  Index most = 0;
  for (Index i = 0; i < n_clusters(); ++i) most = std::max(most, n_inner_effects(i));
  return most + static_cast<Index>(own_z_.size() + own_x_.size());
}

// Z_l'[Z X u] of the levels l of nested factors, above the cluster's own cross products.
void ClusterSpans::fill_inner(Index cluster, Matrix& gram) const {
  const Index m = gram.cols() - 1;
  const Index own = n_inner_effects(cluster), x = own + own_q(), n_x = m - x;
  std::vector<Index> first(at(rows_.n_factors()), own);  // column of a factor's first level here
  Index column = 0;
  for (const Inner& inner : inner_) {
    first[at(inner.factor)] = column;
    const LevelRecords& records = rows_.factor(inner.factor);
    for (Index k = inner.start[at(cluster)]; k < inner.start[at(cluster + 1)]; ++k) {
      const double* record = records.record(inner.levels[at(k)]);
      for (Index b = 0; b < inner.q(); ++b)
        for (Index a = 0; a < inner.q(); ++a)
          gram(column + a, column + b) = record[inner.A[at(a + b * inner.q())]];
      for (Index a = 0; a < inner.q(); ++a) {
        const Index* others = inner.others.data() + a * (n_x + 1);
        for (Index j = 0; j <= n_x; ++j) gram(column + a, x + j) = record[others[j]];
      }
      column += inner.q();
    }
  }
  const auto inner_of = [&](Index factor) -> const Inner* {
    for (const Inner& inner : inner_)
      if (inner.factor == factor) return &inner;
    return nullptr;
  };
  for (const PairBlocks& pairs : pairs_.pairs()) {
    const Inner *major = inner_of(pairs.major), *minor = inner_of(pairs.minor);
    const Index q_major = major ? major->q() : own_q();
    const Index q_minor = minor ? minor->q() : own_q();
    const auto add = [&](Index level) {
      for (Index k = pairs.start[at(level)]; k < pairs.start[at(level + 1)]; ++k) {
        const Index met = pairs.level[at(k)];
        const Index i = first[at(pairs.major)] + (major ? major->place[at(level)] * q_major : 0);
        const Index j = first[at(pairs.minor)] + (minor ? minor->place[at(met)] * q_minor : 0);
        const double* block = pairs.values.data() + k * pairs.block_size;
        for (Index a = 0; a < q_major; ++a)
          for (Index b = 0; b < q_minor; ++b)
            gram(std::min(i + a, j + b), std::max(i + a, j + b)) = block[a + q_major * b];
      }
    };
    if (!major) {
      add(cluster);
      continue;
    }
    for (Index k = major->start[at(cluster)]; k < major->start[at(cluster + 1)]; ++k)
      add(major->levels[at(k)]);
  }
}

Vector ClusterSpans::effects(Index cluster) const {
  Vector b = Vector::Zero(n_inner_effects(cluster) + own_q());
  if (!knows_effects_) return b;
  Index at_effect = 0;
  for (const Inner& inner : inner_) {
    const Matrix& fits = rows_.group_fits(inner.factor);
    for (Index k = inner.start[at(cluster)]; k < inner.start[at(cluster + 1)]; ++k) {
      b.segment(at_effect, inner.q()) = fits.col(inner.levels[at(k)]).head(inner.q());
      at_effect += inner.q();
    }
  }
  b.tail(own_q()) = rows_.group_fits(fit_.cluster).col(cluster).head(own_q());
  return b;
}

Matrix ClusterSpans::times_lambda(Index cluster, const Matrix& rows) const {
  Matrix out(rows.rows(), rows.cols());
  Index column = 0;
  for (const Inner& inner : inner_)
    for (Index k = 0; k < inner.n_effects(cluster); k += inner.q(), column += inner.q())
      out.middleCols(column, inner.q()).noalias() =
          rows.middleCols(column, inner.q()) * inner.lambda;
  out.rightCols(own_q()).noalias() = rows.rightCols(own_q()) * own_lambda_;
  return out;
}

void ClusterSpans::compute(Index cluster, Index z_factor, ClusterSpan& span) const {
  require(cluster >= 0 && cluster < n_clusters(), "a cluster's number");
  const double* record = own_.record(cluster);
  const auto n_own = static_cast<Index>(own_z_.size() + own_x_.size());
  const Index n_inner = n_inner_effects(cluster), n_z = n_inner + own_q(), m = n_inner + n_own;
  Matrix gram = Matrix::Zero(m, m + 1);
  for (Index b = 0; b <= n_own; ++b)
    for (Index a = 0; a < n_own; ++a)
      gram(n_inner + a, n_inner + b) = record[gram_[at(a + b * n_own)]];
  if (n_inner) fill_inner(cluster, gram);
  span.n_rows = record[0];
  Index rank_z = 0;
  const Index rank = factor_in_place(gram, n_z, span.n_rows, rank_z);
  auto u_of_z = gram.col(m).head(rank_z);
  span.square = std::max(record[gram_.back()] - u_of_z.squaredNorm(), 0.0);
  const Matrix R_Z = gram.topLeftCorner(rank_z, n_z);
  const Vector explained = R_Z * effects(cluster);
  const SingularVectors turned = left_singular_vectors(times_lambda(cluster, R_Z), blas_);
  span.K = Vector::Ones(rank);
  span.K.head(rank_z).array() += turned.s.array().square();
  u_of_z += explained;
  gram.topRows(rank_z) = (turned.U.transpose() * gram.topRows(rank_z)).eval();
  if (knows_effects_) u_of_z = u_of_z.cwiseQuotient(span.K.head(rank_z)).eval();
  span.square += span.K.head(rank_z).dot(u_of_z.cwiseAbs2());
  span.u = gram.col(m).head(rank);
  Index first = 0, n_effects = own_q();
  for (const Inner& inner : inner_) {
    if (inner.factor == z_factor) n_effects = inner.n_effects(cluster);
    if (inner.factor == z_factor) break;
    first += inner.n_effects(cluster);
  }
  span.Z = gram.block(0, first, rank, n_effects);
  Matrix X(rank, p());
  for (Index j = 0; j < p(); ++j) X.col(j) = gram.col(n_inner + x_place_[at(j)]).head(rank);
  span.X.noalias() = X * fit_.N;
}

}  // namespace blocklmm
