#include "value_sums.hpp"

#include "group_batches.hpp"
#include "second_moments.hpp"

namespace blocklmm {
namespace {

// The log of a product of numbers from one upwards: mantissas are multiplied and exponents added, so
// that one log is taken in the end, with the error of as many roundings.
class LogProduct {
 public:
  BLOCKLMM_INLINE void multiply(const Lanes& x) {  // below 2^1000
    const Lanes product = mantissa_ * x;
    const LaneBits bits = (LaneBits)product, exponent = (bits >> 52) - 1023;
    exponent_ += exponent;
    mantissa_ = (Lanes)(bits - (exponent << 52));
  }
  BLOCKLMM_INLINE Lanes value() const {
    Lanes out = lane_log(mantissa_);
    for (Index l = 0; l < kLanes; ++l)
      out[l] += static_cast<double>(exponent_[l]) * 0.693147180559945309417;
    return out;
  }

 private:
  Lanes mantissa_ = broadcast(1);
  LaneBits exponent_{};
};

struct ValuePart {
  explicit ValuePart(Sizes s) : S(s.m) {}
  Lanes logdet{};
  SecondMoments S;
};

// Q and M: q and m where they are small and known to the compiler, else 0.
template <Index Q, Index M>
BLOCKLMM_CLONES void add_values(const PackedGroups& groups, Index begin, Index end,
                                const double* lambda, Sizes sizes, bool is_graded, Lanes* factors,
                                ValuePart& part) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  const Index at_multiplicity = q * (q + 1) / 2 + q * m;
  const bool is_each_once = groups.n_patterns == 0;  // lanes without a group have |K| = 1
  Workspace<Q, M> work(sizes, is_graded);
  LogProduct determinants;
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    factor_batch(batch, lambda, sizes, work);
    if (factors) keep_factor(work, sizes, factors + b * factor_size(sizes));
    LogProduct own;
    for (Index i = 0; i < q; ++i) {
      const Lanes pivot = work.L()[i * q + i];
      (is_each_once ? determinants : own).multiply(pivot * pivot);
      for (Index j = 0; j < m; ++j) work.row()[j] = work.G()[j * q + i];
      part.S.add<M>(work.row());
    }
    if (!is_each_once) part.logdet += batch[at_multiplicity] * own.value();
  }
  part.logdet += determinants.value();
}

using AddValues = void (*)(const PackedGroups&, Index, Index, const double*, Sizes, bool, Lanes*,
                           ValuePart&);
template <Index Q>
AddValues pick_width(Index m) {
  switch (m) {
    case 2: return add_values<Q, 2>;
    case 3: return add_values<Q, 3>;
    case 4: return add_values<Q, 4>;
    case 5: return add_values<Q, 5>;
    default: return add_values<Q, 0>;
  }
}
AddValues pick(Index q, Index m) {
  switch (q) {
    case 1: return pick_width<1>(m);
    case 2: return pick_width<2>(m);
    case 3: return add_values<3, 0>;
    case 4: return add_values<4, 0>;
    case 5: return add_values<5, 0>;
    case 6: return add_values<6, 0>;
    default: return add_values<0, 0>;
  }
}

}  // namespace

ValueSums value_sums(const PackedGroups& groups, const Matrix& lambda, Index m, int n_threads,
                     Index every, RawLaneVector* factors) {
  const Sizes sizes{lambda.rows(), m};
  const AddValues add = pick(sizes.q, m);
  const bool is_graded = loses_digits(lambda);
  const GroupTasks tasks(groups, every);
  if (factors) factors->resize(static_cast<std::size_t>(groups.n_batches() * factor_size(sizes)));
  std::vector<ValueSums> part_of(static_cast<std::size_t>(tasks.n));
  for_each_task(tasks.n, n_threads, [&](Index task) {
    ValuePart part(sizes);
    add(groups, tasks.begin(task), tasks.end(task), lambda.data(), sizes, is_graded,
        factors ? factors->data() : nullptr, part);
    part_of[static_cast<std::size_t>(task)] = {lane_sum(part.logdet), part.S.total()};
  });
  return pairwise_total(part_of, {0, Matrix::Zero(m, m)});
}

}  // namespace blocklmm
