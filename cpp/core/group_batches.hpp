#pragma once

#include <algorithm>
#include <cstddef>

#include "patterns.hpp"

// What is done to one batch of groups: the letters of block_objective.hpp, lane by lane.

namespace blocklmm {

inline constexpr Index kTaskBatches =
    4096 / kLanes;  // batches in a task: no sum depends on the threads

// The groups in tasks; with `every` > 1 a sample, every so many of them.
struct GroupTasks {
  explicit GroupTasks(const PackedGroups& groups, Index every_ = 1)
      : every(every_),
        n_batches(groups.n_batches()),
        n(((n_batches + kTaskBatches - 1) / kTaskBatches + every - 1) / every) {}
  Index every, n_batches, n;
  Index begin(Index task) const { return task * every * kTaskBatches; }
  Index end(Index task) const { return std::min(n_batches, begin(task) + kTaskBatches); }
  double share() const {  // of the groups
    if (every == 1) return 1;
    Index n_taken = 0;
    for (Index task = 0; task < n; ++task) n_taken += end(task) - begin(task);
    return static_cast<double>(n_taken) / static_cast<double>(n_batches);
  }
};

// Entries of lambda so large that products lose what matters.
inline bool loses_digits(const Matrix& lambda) {
  return lambda.rows() > 1 && lambda.cwiseAbs().maxCoeff() > 30;
}

struct Sizes {
  Index q, m;
  Index triangle() const { return q * (q + 1) / 2; }
};

// Room for K, F and the inverse diagonal of L of a batch, and for what is made of them. A kernel has
// one of its own: where the sizes are known to the compiler most of it never leaves the registers.
template <Index Q, Index M>
class Workspace {
 public:
  Workspace(Sizes s, bool graded)
      : is_graded(graded),
        q_any_(s.q),
        m_any_(s.m),
        room_(kIsFixed ? 0 : static_cast<std::size_t>(size(s.q, s.m))) {}
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  Lanes* L() { return kIsFixed ? fixed_ : room_.data(); }
  Lanes* RL() { return L() + q() * q(); }
  Lanes* F() { return RL() + q() * q(); }
  Lanes* inverse() { return F() + q() * q(); }
  Lanes* G() { return inverse() + q(); }
  Lanes* J() { return G() + q() * m(); }
  Lanes* A() { return J() + q() * m(); }
  Lanes* W() { return A() + q() * (q() + 1) / 2; }
  Lanes* row() { return W() + q() * (q() + 1) / 2; }
  const bool is_graded;

 private:
  static constexpr bool kIsFixed = Q > 0 && M > 0;
  static constexpr Index size(Index q, Index m) {
    return 3 * q * q + q + 2 * q * m + q * (q + 1) + m;
  }
  Index q() const { return Q ? Q : q_any_; }
  Index m() const { return M ? M : m_any_; }

  Index q_any_, m_any_;
  LaneVector room_;
  Lanes fixed_[kIsFixed ? size(Q, M) : 1];
};

// LL' = I + B B' for B (q x q, by rows): Cholesky of the sum. Entries of B far above one drown what
// is known of the directions beside them, with an error of their squares' roundings.
BLOCKLMM_INLINE void factor_by_products(const Lanes* B, Index q, Lanes* L) {
  for (Index i = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j) {
      Lanes sum = i == j ? broadcast(1) : Lanes{};
      for (Index k = 0; k < q; ++k) sum += B[i * q + k] * B[j * q + k];
      for (Index k = 0; k < j; ++k) sum -= L[i * q + k] * L[j * q + k];
      L[i * q + j] = i == j ? lane_sqrt(sum) : sum / L[j * q + j];
    }
}

// The same by rotating the columns of B into L = I, one after the other (Gill, Golub, Murray &
// Saunders 1974): nothing is squared, and errors are roundings of the entries. B is used up.
BLOCKLMM_INLINE void factor_by_rotations(Lanes* B, Index q, Lanes* L) {
  for (Index i = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j) L[i * q + j] = i == j ? broadcast(1) : Lanes{};
  for (Index c = 0; c < q; ++c)
    for (Index k = 0; k < q; ++k) {
      const Lanes l = L[k * q + k], x = B[k * q + c];
      const Lanes r = lane_sqrt(l * l + x * x);
      const Lanes cosine = l / r, sine = x / r;
      L[k * q + k] = r;
      for (Index i = k + 1; i < q; ++i) {
        const Lanes below = L[i * q + k], other = B[i * q + c];
        L[i * q + k] = cosine * below + sine * other;
        B[i * q + c] = cosine * other - sine * below;
      }
    }
}

// L_i (by rows, its diagonal inverted apart) and G_i (by columns) of one batch.
template <Index Q, Index M>
BLOCKLMM_INLINE void factor_batch(const Lanes* batch, const double* lambda, Sizes sizes,
                                  Workspace<Q, M>& work) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  const Lanes* R = batch;                    // R(i, j) at j (j + 1) / 2 + i, i <= j
  const Lanes* Y = batch + q * (q + 1) / 2;  // Y(i, j) at j q + i
  Lanes *L = work.L(), *RL = work.RL(), *inverse = work.inverse(), *G = work.G();
  for (Index i = 0; i < q; ++i)
    for (Index j = 0; j < q; ++j) {
      Lanes sum{};
      for (Index k = i; k < q; ++k) sum += R[k * (k + 1) / 2 + i] * lambda[k + j * q];
      RL[i * q + j] = sum;
    }
  if (work.is_graded)
    factor_by_rotations(RL, q, L);
  else
    factor_by_products(RL, q, L);
  for (Index i = 0; i < q; ++i) inverse[i] = 1.0 / L[i * q + i];
  for (Index j = 0; j < m; ++j)
    for (Index i = 0; i < q; ++i) {
      Lanes sum = Y[j * q + i];
      for (Index k = 0; k < i; ++k) sum -= L[i * q + k] * G[j * q + k];
      G[j * q + i] = sum * inverse[i];
    }
}

// What factor_batch leaves, kept for another pass: L below its diagonal, the inverse diagonal, G.
inline Index factor_size(Sizes s) { return s.q * (s.q + 1) / 2 + s.q * s.m; }

template <Index Q, Index M>
BLOCKLMM_INLINE void keep_factor(Workspace<Q, M>& work, Sizes sizes, Lanes* to) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  for (Index i = 0; i < q; ++i)
    for (Index k = 0; k < i; ++k) *to++ = work.L()[i * q + k];
  for (Index i = 0; i < q; ++i) *to++ = work.inverse()[i];
  for (Index i = 0; i < q * m; ++i) *to++ = work.G()[i];
}

template <Index Q, Index M>
BLOCKLMM_INLINE void take_factor(const Lanes* from, Sizes sizes, Workspace<Q, M>& work) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  for (Index i = 0; i < q; ++i)
    for (Index k = 0; k < i; ++k) work.L()[i * q + k] = *from++;
  for (Index i = 0; i < q; ++i) work.inverse()[i] = *from++;
  for (Index i = 0; i < q * m; ++i) work.G()[i] = *from++;
}

// With a batch's factor in place: F_i, J_i = F_i'G_i N (by columns), which takes G's place, and A~_i
// (lower triangle by rows).
// N: upper triangular, by columns.
template <Index Q, Index M>
BLOCKLMM_INLINE void derive_batch(const Lanes* batch, const double* N, Sizes sizes,
                                  Workspace<Q, M>& work) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  Lanes *L = work.L(), *F = work.F(), *G = work.G(), *J = work.J();
  Lanes *A = work.A(), *inverse = work.inverse();
  for (Index j = 0; j < q; ++j)  // F = L^-1 R, by columns
    for (Index i = 0; i < q; ++i) {
      Lanes sum = i <= j ? batch[j * (j + 1) / 2 + i] : Lanes{};
      for (Index k = 0; k < i; ++k) sum -= L[i * q + k] * F[j * q + k];
      F[j * q + i] = sum * inverse[i];
    }
  for (Index j = m - 1; j >= 0; --j) {  // G <- G N in place, then J = F'G
    for (Index i = 0; i < q; ++i) {
      Lanes sum{};
      for (Index k = 0; k <= j; ++k) sum += G[k * q + i] * N[k + j * m];
      G[j * q + i] = sum;
    }
    for (Index i = 0; i < q; ++i) {
      Lanes sum{};
      for (Index k = 0; k < q; ++k) sum += F[i * q + k] * G[j * q + k];
      J[j * q + i] = sum;
    }
  }
  for (Index i = 0, at = 0; i < q; ++i)
    for (Index j = 0; j <= i; ++j, ++at) {
      Lanes a{};
      for (Index k = 0; k < q; ++k) a += F[i * q + k] * F[j * q + k];
      A[at] = a;
    }
}

}  // namespace blocklmm
