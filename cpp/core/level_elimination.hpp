#pragma once

#include <cmath>

#include "errors.hpp"
#include "pattern_matrix.hpp"

// The formulas of sparse_factor.hpp for one level, for a number of effects that the compiler knows
// (Q) or not (Q = 0).

namespace blocklmm {

struct Prior {  // of the effects of one factor
  Matrix lambda, T;
  Matrix inverse_lambda, inverse_T;  // where is_regular
  bool is_regular = false;           // T can be inverted without losing digits
};

template <Index Q>
struct Width {
  explicit Width(Index) {}
  static constexpr Index q = Q;
};
template <>
struct Width<0> {
  explicit Width(Index q_any) : q(q_any) {}
  const Index q;
};

// Its sums are written out: for so few numbers Eigen's products are hardly faster, and each takes
// the compiler seconds.
template <Index Q>
struct Eliminator : Width<Q> {
  static constexpr int kSide = Q ? static_cast<int>(Q) : Eigen::Dynamic;
  using Square = Eigen::Matrix<double, kSide, kSide>;
  using ConstSquare = Eigen::Map<const Square>;
  using Width<Q>::Width, Width<Q>::q;

  // Returns |I + lambda'A lambda| and writes W.
  double pivot(const double* A, const Prior& prior, double* W) const {
    const ConstSquare lambda(prior.lambda.data(), q, q);
    const Square transposed = lambda.transpose();
    Square L = product(transposed, product(ConstSquare(A, q, q), lambda));
    double determinant = 1;
    for (Index j = 0; j < q; ++j) {
      double square = 1 + L(j, j);
      for (Index k = 0; k < j; ++k) square -= L(j, k) * L(j, k);
      if (!(square > 0)) throw NotPositiveDefinite(0);
      determinant *= square;
      L(j, j) = std::sqrt(square);
      for (Index i = j + 1; i < q; ++i) {
        double sum = L(i, j);
        for (Index k = 0; k < j; ++k) sum -= L(i, k) * L(j, k);
        L(i, j) = sum / L(j, j);
      }
      for (Index i = 0; i < q; ++i) {
        double sum = lambda(i, j);
        for (Index k = 0; k < j; ++k) sum -= W[i + k * q] * L(j, k);
        W[i + j * q] = sum / L(j, j);
      }
    }
    return determinant;
  }

  Square P(const Level& level, const Prior& prior) const {
    const ConstSquare W(level.W, q, q);
    if constexpr (Q == 1) {
      const double lambda = prior.lambda(0, 0);
      Square out;
      out(0, 0) = 1 / (1 + lambda * level.A[0] * lambda);
      return out;
    } else {
      const Square TP = product(W, W.transpose());
      if (prior.is_regular) return product(ConstSquare(prior.inverse_T.data(), q, q), TP);
      Square out = product(ConstSquare(level.A, q, q), TP);
      for (Index b = 0; b < q; ++b)
        for (Index a = 0; a < q; ++a) out(a, b) = (a == b ? 1.0 : 0.0) - out(a, b);
      return out;
    }
  }

  // M times the q numbers of each row
  template <class Derived>
  void multiply_rows(const Eigen::MatrixBase<Derived>& M, const double* B, Index n_rows,
                     double* out) const {
    for (Index r = 0; r < n_rows; ++r)
      for (Index a = 0; a < q; ++a) {
        double sum = 0;
        for (Index b = 0; b < q; ++b) sum += M(a, b) * B[r * q + b];
        out[r * q + a] = sum;
      }
  }

  // A_rr -= B'W W'B
  void update_later(const Level& level, PatternMatrix& later) {
    work.resize(static_cast<std::size_t>(level.n_rows * q));
    multiply_rows(ConstSquare(level.W, q, q).transpose(), level.B, level.n_rows, work.data());
    later.template subtract_gram<Q>(level, work.data(), q);
  }

  // D_r -= B'W W'D, and the upper triangle of gram += D'W W'D (m x m by columns)
  void forward(const Level& level, const double* D, Index m, double* later, double* gram) {
    work.resize(static_cast<std::size_t>(2 * q * m));
    double *half = work.data(), *full = half + q * m;
    for (Index a = 0; a < q; ++a)
      for (Index c = 0; c < m; ++c) {
        double sum = 0;
        for (Index b = 0; b < q; ++b) sum += level.W[b + a * q] * D[b * m + c];
        half[a * m + c] = sum;
      }
    for (Index a = 0; a < q; ++a) {
      for (Index c = 0; c < m; ++c) {
        double sum = 0;
        for (Index b = 0; b < q; ++b) sum += level.W[a + b * q] * half[b * m + c];
        full[a * m + c] = sum;
      }
      for (Index c = 0; c < m; ++c)
        for (Index d = 0; d <= c; ++d) gram[c * m + d] += half[a * m + c] * half[a * m + d];
    }
    for (Index r = 0; r < level.n_rows; ++r) {
      double* to = later + level.rows[r] * m;
      for (Index a = 0; a < q; ++a) {
        const double b = level.B[r * q + a];
        for (Index c = 0; c < m; ++c) to[c] -= b * full[a * m + c];
      }
    }
  }

  // D <- D~ = P (D - B b_r), and b = T D~ where it is wanted
  void backward(const Level& level, const Prior& prior, Index m, double* D, const double* later,
                double* b) {
    for (Index r = 0; r < level.n_rows; ++r) {
      const double* from = later + level.rows[r] * m;
      for (Index a = 0; a < q; ++a) {
        const double weight = level.B[r * q + a];
        for (Index c = 0; c < m; ++c) D[a * m + c] -= weight * from[c];
      }
    }
    multiply_columns(P(level, prior), m, D, D);
    if (b) multiply_columns(ConstSquare(prior.T.data(), q, q), m, D, b);
  }

  // E = P B and V = Q_rr E', whole or half of it (see PatternMatrix), kept in `work`; returns
  // E Q_rr E'
  template <bool kWhole>
  Square quadratic(const Level& level, const Square& p, const PatternMatrix& later) {
    work.resize(static_cast<std::size_t>(2 * level.n_rows * q));
    double *e = work.data(), *v = e + level.n_rows * q;
    multiply_rows(p, level.B, level.n_rows, e);
    if constexpr (kWhole)
      later.template multiply<Q>(level, e, q, v);
    else
      later.template multiply_half<Q>(level, e, q, v);
    const Square S = product_of_rows(e, v, level.n_rows);
    return kWhole ? S : Square(S + S.transpose());
  }
  const double* E() const { return work.data(); }
  const double* V(const Level& level) const { return work.data() + level.n_rows * q; }

  // M_rr -= X Y' + Y X' of a matrix of the later variables; V = M_rr E'
  void subtract_mixed(const Level& level, const double* X, const double* Y,
                      PatternMatrix& later) const {
    later.template subtract_mixed<Q>(level, X, Y, q);
  }
  void multiply(const Level& level, const double* e, const PatternMatrix& later, double* v) const {
    later.template multiply<Q>(level, e, q, v);
  }

  // sum over rows of e v'
  Square product_of_rows(const double* e, const double* v, Index n_rows) const {
    Square S = Square::Zero(q, q);
    for (Index r = 0; r < n_rows; ++r)
      for (Index a = 0; a < q; ++a)
        for (Index b = 0; b < q; ++b) S(a, b) += e[r * q + a] * v[r * q + b];
    return S;
  }

  Square reduced(const Level& level, const Square& p) const {  // P A
    return product(p, ConstSquare(level.A, q, q));
  }
  Square variance(const Level& level, const Prior& prior, const Square& S) const {
    const ConstSquare W(level.W, q, q), T(prior.T.data(), q, q);
    return product(W, W.transpose()) + product(product(T, S), T);
  }

  // to (q x q by columns) += from
  template <class Derived>
  void add(const Eigen::MatrixBase<Derived>& from, double* to) const {
    const Square values = from;
    for (Index b = 0; b < q; ++b)
      for (Index a = 0; a < q; ++a) to[a + b * q] += values(a, b);
  }

  std::vector<double> work;

 private:
  // q x q times q x q; where q is not known, by columns of L as the processor takes them
  template <class Left, class Right>
  Square product(const Left& L, const Right& R) const {
    if constexpr (Q == 0) {
      Square out = Square::Zero(q, q);
      for (Index b = 0; b < q; ++b)
        for (Index k = 0; k < q; ++k) {
          const double r = R(k, b);
          for (Index a = 0; a < q; ++a) out(a, b) += L(a, k) * r;
        }
      return out;
    }
    Square out(q, q);
    for (Index b = 0; b < q; ++b)
      for (Index a = 0; a < q; ++a) {
        double sum = 0;
        for (Index k = 0; k < q; ++k) sum += L(a, k) * R(k, b);
        out(a, b) = sum;
      }
    return out;
  }
  template <class Derived>
  void multiply_columns(const Eigen::MatrixBase<Derived>& M, Index m, const double* from,
                        double* to) {
    double column[Q ? Q : 1];
    if (Q == 0) spare.resize(static_cast<std::size_t>(q));
    double* values = Q ? column : spare.data();
    for (Index c = 0; c < m; ++c) {
      for (Index a = 0; a < q; ++a) {
        double sum = 0;
        for (Index k = 0; k < q; ++k) sum += M(a, k) * from[k * m + c];
        values[a] = sum;
      }
      for (Index a = 0; a < q; ++a) to[a * m + c] = values[a];
    }
  }
  std::vector<double> spare;
};

template <class Work>
void with_width(Index q, const Work& work) {
  switch (q) {
    case 1: return work(Eliminator<1>(q));
    case 2: return work(Eliminator<2>(q));
    case 3: return work(Eliminator<3>(q));
    case 4: return work(Eliminator<4>(q));
    default: return work(Eliminator<0>(q));
  }
}

}  // namespace blocklmm
