#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "level_elimination.hpp"
#include "stopwatch.hpp"

// The random effects of several factors, eliminated level by level. All is in the units of the
// statistics. With T = lambda lambda' of a level's factor, and A, B, D what earlier eliminations
// have left of its Z'Z, of Z'Z_r for the later variables r that it meets, and of Z'M:
//
//     LL' = I + lambda'A lambda,   W = lambda L^-T,   P = (I + A T)^-1,   T P = W W'
//     A_rr -= B'W W'B,   D_r -= B'W W'D,   S -= D'W W'D,   log|Omega| += 2 log|L|
//
// is the elimination (it never divides by lambda, so zero variances need nothing special), and
// with E = P B and Q = Var(b | y) / sigma^2 of the later variables,
//
//     D~ = P (D - B b_r),  b = T D~              (Z'V^-1 M and the modes)
//     A~ = P A - E Q_rr E'                       (the level's block of Z'V^-1 Z)
//     Q  = W W' + T E Q_rr E' T,  Q_r = -Q_rr E'T
//
// runs backwards (Takahashi, Fagan & Chen 1973): Q is needed on the pattern of the factor only.
// The variables at the dense end go at once: Omega = I + Lambda'A Lambda = LL' in tiles,
// Q = Lambda Omega^-1 Lambda', Lambda'A~ Lambda = I - Omega^-1, Lambda'D~ = L^-T L^-1 Lambda'D.

namespace blocklmm {

// m numbers for each random effect: right-hand sides and solutions, effect after effect.
struct Effects {
  Effects(const Elimination& plan, Index n_columns)
      : m(n_columns),
        leaf(static_cast<std::size_t>(plan.n_leaves * plan.leaf_width * n_columns), 0.0),
        rest(static_cast<std::size_t>(plan.n_rest * n_columns), 0.0) {}
  double* of_leaf(Index effect) { return leaf.data() + effect * m; }
  const double* of_leaf(Index effect) const { return leaf.data() + effect * m; }
  double* of_rest(Index variable) { return rest.data() + variable * m; }
  const double* of_rest(Index variable) const { return rest.data() + variable * m; }
  Index m;
  AlignedVector leaf, rest;
  Matrix end;  // after forward: L^-1 Lambda'D of the dense end
};

class SparseFactor {
 public:
  SparseFactor(const Statistics& statistics, const Elimination& plan, const Blas& blas);

  // Factors Omega for a lambda of each factor; returns log|Omega|. `units`: by factor, what its
  // columns of Z are to be divided by where lambda is judged small.
  double factor(const std::vector<Matrix>& lambdas, const std::vector<Vector>& units,
                int n_threads);

  // The same with T infinitely large, as far as the dense end, of which A is left: W W' = A^-, where
  // a column that keeps less than `nothing` of its Z'Z gets a zero column in W. Returns how many
  // do not.
  Index factor_flat(double nothing);
  const TiledMatrix& left_at_end() const { return A_.dense(); }

  // D <- what is left of it when its level goes; returns sum D'W W'D (m x m).
  Matrix forward(Effects& D) const;
  Matrix forward_before_end(Effects& D) const;
  // After forward: D <- D~; returns the modes of the later variables.
  Effects backward(Effects& D) const;

  // Q on the pattern of the factor, which is given up; returns sum A~ by factor.
  std::vector<Matrix> invert(int n_threads);
  // After invert: Q of each level of a factor, q x q by columns, level after level.
  void variances(Index factor, double* out) const;

  Effects right_hand_sides(const std::vector<Index>& columns) const;  // Z'U for columns of U
  Effects products(const Effects& c) const;                           // Z'Z c
  // Seconds of all calls by part.
  Stopwatch& stopwatch() const { return stopwatch_; }

  // One level's values of Effects: q rows of m.
  const double* values_of(const Effects& effects, Index factor, Index level) const;
  double* values_of(Effects& effects, Index factor, Index level) const;

  template <class Work>  // work(eliminator, number, level), over all leaves
  void over_leaves(const Work& work) const;
  template <class Work>  // the same over the middle, from first to last or back
  void over_nodes(bool backwards, const Work& work) const;
  template <class Visit>  // visit(factor, level, first dense variable)
  void over_dense_levels(const Visit& visit) const;

 private:
  friend class SparseTangent;

  Level node_level(std::size_t k) const;
  const Prior& prior_of(std::size_t node) const {
    return priors_[static_cast<std::size_t>(plan_.nodes[node].factor)];
  }
  void fill();
  bool is_at_end(Index factor) const;
  void multiply_dense(TiledMatrix& dense, bool transposed) const;
  Matrix irregular_sum(Index factor) const;
  Matrix dense_rows(const Effects& D, bool with_lambda) const;

  const Statistics& statistics_;
  const Elimination& plan_;
  mutable Stopwatch stopwatch_;
  std::vector<Prior> priors_;
  std::vector<double> leaf_W_, node_W_;
  std::vector<std::size_t> node_W_at_;
  PatternMatrix A_;  // what is left of Z'Z when its level goes; at the dense end L
  PatternMatrix Q_;
  std::unique_ptr<TiledMatrix> unscaled_;  // A at the dense end where a factor there is irregular
};

template <class Work>
void SparseFactor::over_leaves(const Work& work) const {
  const LevelRecords& records = statistics_.factor(plan_.leaf);
  const Index q = plan_.leaf_width;
  std::vector<double> A(static_cast<std::size_t>(q * q));
  with_width(q, [&](auto eliminator) {
    for (Index i = 0; i < plan_.n_leaves; ++i) {
      const double* record = records.record(i);
      for (Index a = 0; a < q; ++a)
        for (Index b = a; b < q; ++b)
          A[static_cast<std::size_t>(a * q + b)] = A[static_cast<std::size_t>(b * q + a)] =
              record[records.position(a, b)];
      const Index begin = plan_.leaf_start[static_cast<std::size_t>(i)];
      const Index end = plan_.leaf_start[static_cast<std::size_t>(i) + 1];
      const std::int32_t* rows = plan_.leaf_rows.data() + begin;
      const std::int32_t* last = plan_.leaf_rows.data() + end;
      Index n_sparse = 0;
      if (plan_.n_middle > 0) n_sparse = std::lower_bound(rows, last, plan_.n_middle) - rows;
      work(eliminator, i,
           Level{end - begin, n_sparse, rows, A.data(), plan_.leaf_blocks.data() + begin * q,
                 leaf_W_.data() + i * q * q});
    }
  });
}

template <class Work>
void SparseFactor::over_nodes(bool backwards, const Work& work) const {
  const std::size_t n = plan_.nodes.size();
  std::size_t step = 0;
  while (step < n) {
    const auto number = [&] { return backwards ? n - 1 - step : step; };
    const Index q = plan_.nodes[number()].width;
    with_width(q, [&](auto eliminator) {
      for (; step < n && plan_.nodes[number()].width == q; ++step)
        work(eliminator, number(), node_level(number()));
    });
  }
}

template <class Visit>
void SparseFactor::over_dense_levels(const Visit& visit) const {
  for (Index f = 0; f < statistics_.n_factors(); ++f) {
    const auto& variables = plan_.variable[static_cast<std::size_t>(f)];
    for (std::size_t l = 0; l < variables.size(); ++l)
      if (variables[l] >= plan_.n_middle)
        visit(f, static_cast<Index>(l), variables[l] - plan_.n_middle);
  }
}

}  // namespace blocklmm
