#pragma once

#include "group_factors.hpp"

// The groups as the objective reads them: R_i and Y_i in batches, one group a lane.
//
// Groups with the same A_i form a pattern (a random intercept has as many as there are group
// sizes, a balanced study has one). The objective, its derivatives and Gamma see the Y_i of a
// pattern only through K = sum vec(Y_i)vec(Y_i)'. With K = LL', the columns of L taken as the Y of
// at most q(p+1) stand-in groups give the same K, hence the same everything; the first of them
// counts `multiplicity` = n_k times where Y does not enter, the others not at all.

namespace blocklmm {

class PackedGroups {
 public:
  PackedGroups(const Statistics& statistics, const Standardization& units, int n_threads);
  // The same groups with another y, whose products are all that changed in the statistics.
  void take_response(const Statistics& statistics, const Standardization& units);

  Index n_batches() const { return n_batches_; }
  // A batch: R's upper triangle by columns, Y by columns, multiplicity.
  const Lanes* batch(Index b) const { return data_.data() + b * batch_size_; }

  Index n_patterns = 0;  // 0 where the groups are kept one by one
  Index rank_of_z = 0;   // the sum of the ranks of A_i
  Matrix within;         // C - sum Y_i'Y_i

 private:
  void keep_all(const Statistics& statistics, const Standardization& units, int n_threads);
  // Rounding taken from a C - sum Y_i'Y_i.
  static void clean(Matrix& within, const Standardization& units);
  void append(const Matrix& R, const Eigen::Ref<const Vector>& vec_Y, double multiplicity);
  Index n_packed_ = 0, n_batches_ = 0, batch_size_ = 0;
  LaneVector data_;
};

}  // namespace blocklmm
