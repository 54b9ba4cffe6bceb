#pragma once

#include "group_factors.hpp"

// The groups as the objective reads them: R_i and Y_i in batches, one group a lane.
//
// Groups with the same A_i form a pattern (a random intercept has as many as there are group
// sizes, a balanced study has one). The objective, its derivatives and Gamma see the Y_i of a
// pattern only through K = sum vec(Y_i)vec(Y_i)'. With K = LL', the columns of L taken as the Y of
// at most q(p+1) stand-in groups give the same K, hence the same everything; the first of them
// counts `multiplicity` = n_k times where Y does not enter, the others not at all.
//
// With X first, K = [K_XX K_Xy; K_yX K_yy] and L = [L_XX 0; L_yX L_yy]: another y changes the last
// rows alone, L_yX by the pivots of L_XX, and L_yy L_yy' = K_yy - L_yX L_yX'.

namespace blocklmm {

class PackedGroups {
 public:
  // keeps_members: of each pattern, for other responses.
  PackedGroups(const Statistics& statistics, const Standardization& units, int n_threads = 1,
               bool keeps_members = false);
  // The same groups with another y, whose products are all that changed in the statistics.
  void take_response(const Statistics& statistics, const Standardization& units);

  Index n_batches() const { return n_batches_; }
  // A batch: R's upper triangle by columns, Y by columns, multiplicity.
  const Lanes* batch(Index b) const { return data_.data() + b * batch_size_; }

  Index n_patterns = 0;  // 0 where the groups are kept one by one
  Index rank_of_z = 0;   // the sum of the ranks of A_i
  Matrix explained;      // sum Y_i'Y_i
  Matrix within;         // C - explained

  // Rounding taken from a C - sum Y_i'Y_i.
  static void clean(Matrix& within, const Standardization& units);

 private:
  struct Pattern {
    std::vector<Index> members;
    Index first_slot;  // of its stand-ins: one for each pivot of L_XX, and q more
    Matrix R, Y_X;     // Y_X: vec of each member's, a row each
    Matrix L_XX;
    std::vector<Index> pivots;  // the row that each of its columns begins in
  };
  void keep_all(const Statistics& statistics, const Standardization& units, int n_threads);
  // Y'y of all, [Y_X Y_y]'Y_y, with the y of the statistics put into the slots.
  Vector take_singles(const Statistics& statistics, const Standardization& units);
  Vector take_pattern(const Pattern& pattern, const Statistics& statistics,
                      const Standardization& units);
  double& value(Index slot, Index place) {
    return reinterpret_cast<double*>(data_.data() + slot / kLanes * batch_size_ +
                                     place)[slot % kLanes];
  }
  // The group that has a slot to itself, or -1.
  Index single_in(Index slot) const {
    if (n_patterns == 0) return slot < n_packed_ ? slot : -1;
    return slot < static_cast<Index>(group_of_slot_.size())
               ? group_of_slot_[static_cast<std::size_t>(slot)]
               : -1;
  }
  void append(const Matrix& R, const Eigen::Ref<const Vector>& vec_Y, double multiplicity);
  Index n_packed_ = 0, n_batches_ = 0, batch_size_ = 0;
  RawLaneVector data_;
  bool keeps_members_ = false;
  std::vector<Pattern> patterns_;
  std::vector<Index> group_of_slot_;  // where there are patterns; -1 for stand-ins
};

}  // namespace blocklmm
