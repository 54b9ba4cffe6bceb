#pragma once

#include <vector>

#include "statistics.hpp"

// What the objective of one grouping factor needs of one group, in units in which every column has root mean square one.
// The rows of group i are compressed by their own QR decomposition, taken from the cross products:
//
//     A_i = R_i'R_i,   Y_i = R_i^-T D_i,   so that   D_i'T(I + A_i T)^-1 D_i
//                                                  = Y_i'Y_i - Y_i'(I + R_i T R_i')^-1 Y_i
//
// and S(theta) = (C - sum Y_i'Y_i) + sum Y_i'(I + R_i T R_i')^-1 Y_i is a sum of two positive
// semidefinite parts: nothing cancels, however large T is. Where A_i is singular (few rows, a
// constant covariate) the row of R_i is zero, and so is that of Y_i.
//
// Where the pass took Z_i b_i from y (Statistics::adopt), `explained` = R_i b_i is what Y_i lacks
// in its last column: C - sum Y_i'Y_i is the same without it, and more exact.

namespace blocklmm {

// For each factor, the rows of lambda that are its columns of Z, in the factor's order.
using Members = std::vector<std::vector<Index>>;
// Of one factor, or none: all of its columns.
Members all_members(const Statistics& statistics);

// Which columns of the statistics make Z and M = [X y], and the unit of each.
struct Standardization {
  // members: by factor, the row of lambda of each of its columns of Z.
  Standardization(const Statistics& statistics, std::vector<Index> x_columns,
                  const Members& members);
  // As found elsewhere; M of the columns given.
  Standardization(Index n_rows, std::vector<Index> columns, Vector scale_of_z, Vector scale_of_m,
                  Matrix cross_products);
  // The statistics have got another response.
  void take_response(const Statistics& statistics);

  Index n = 0, p = 0, q = 0;
  std::vector<Index> m_columns;  // columns of the statistics, y last
  Vector z_scale, m_scale;       // the root mean square of each column, 1 where it is zero
  Matrix C;                      // M'M in these units
};

class GroupFactors {
 public:
  GroupFactors(const Statistics& statistics, const Standardization& units);
  // Sets R (q x q, upper triangle) and Y (q x (p+1)) of one group.
  void compute(Index group);
  Matrix R, Y;
  Vector explained;
  // A_i^- D_i y in the statistics' units: least squares of y on Z in the group alone.
  Vector own_fit() const;

 private:
  const LevelRecords& records_;
  const Matrix& group_fits_;
  const Standardization& units_;
  std::vector<Index> a_, d_;  // positions in a record
};

}  // namespace blocklmm
