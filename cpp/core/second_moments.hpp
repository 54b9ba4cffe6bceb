#pragma once

#include "lanes.hpp"

namespace blocklmm {

// The sum of v v' over many vectors v, a lane each. Short vectors are summed in registers and
// cache, lane by lane; long ones are collected in a panel and go by matrix products.
class SecondMoments {
 public:
  static constexpr Index kLongest = 48, kPanel = 256;
  explicit SecondMoments(Index size) : size_(size), is_long_(size > kLongest) {
    if (is_long_) {
      sum_ = Matrix::Zero(size, size);
      panel_.resize(size, kPanel);
    } else {
      lanes_.assign(static_cast<std::size_t>(size * (size + 1) / 2), Lanes{});
    }
  }

  // N: the size, where it is known and short; 0 elsewhere.
  template <Index N = 0>
  BLOCKLMM_INLINE void add(const Lanes* v) {
    static_assert(N <= kLongest, "short vectors");
    if (N == 0 && is_long_) return add_long(v);
    Lanes* sum = lanes_.data();
    for (Index i = 0; i < (N ? N : size_); ++i)
      for (Index j = 0; j <= i; ++j) *sum++ += v[i] * v[j];
  }

  // The lower triangle is the sum's; the upper one is filled in.
  Matrix total() {
    Matrix sum(size_, size_);
    if (is_long_) {
      flush();
      sum = sum_.selfadjointView<Eigen::Lower>();
      return sum;
    }
    const Lanes* from = lanes_.data();
    for (Index i = 0; i < size_; ++i)
      for (Index j = 0; j <= i; ++j) sum(i, j) = sum(j, i) = lane_sum(*from++);
    return sum;
  }

 private:
  void flush() {
    if (filled_) sum_.selfadjointView<Eigen::Lower>().rankUpdate(panel_.leftCols(filled_));
    filled_ = 0;
  }
  void add_long(const Lanes* v) {
    for (Index i = 0; i < size_; ++i)
      for (Index l = 0; l < kLanes; ++l) panel_(i, filled_ + l) = v[i][l];
    filled_ += kLanes;
    if (filled_ == kPanel) flush();
  }

  Index size_, filled_ = 0;
  bool is_long_;
  LaneVector lanes_;
  Matrix sum_, panel_;
};

}  // namespace blocklmm
