#include "value_sums.hpp"

#include "group_batches.hpp"
#include "second_moments.hpp"

namespace blocklmm {
namespace {

struct ValuePart {
  explicit ValuePart(Sizes s) : S(s.m) {}
  Lanes logdet{};
  SecondMoments S;
};

// Q and M: q and m where they are small and known to the compiler, else 0.
template <Index Q, Index M>
BLOCKLMM_CLONES void add_values(const PackedGroups& groups, Index begin, Index end,
                                const double* lambda, Sizes sizes, Workspace& work,
                                ValuePart& part) {
  const Index q = Q ? Q : sizes.q, m = M ? M : sizes.m;
  const Index at_multiplicity = q * (q + 1) / 2 + q * m;
  for (Index b = begin; b < end; ++b) {
    const Lanes* batch = groups.batch(b);
    part.logdet += batch[at_multiplicity] * factor_batch<Q, M>(batch, lambda, sizes, work);
    for (Index i = 0; i < q; ++i) {
      for (Index j = 0; j < m; ++j) work.row[j] = work.G[j * q + i];
      part.S.add<M>(work.row);
    }
  }
}

using AddValues = void (*)(const PackedGroups&, Index, Index, const double*, Sizes, Workspace&,
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
                     Index every) {
  const Sizes sizes{lambda.rows(), m};
  const AddValues add = pick(sizes.q, m);
  const bool is_graded = loses_digits(lambda);
  const GroupTasks tasks(groups, every);
  std::vector<ValueSums> part_of(static_cast<std::size_t>(tasks.n));
  for_each_task(tasks.n, n_threads, [&](Index task) {
    Workspace work(sizes, is_graded);
    ValuePart part(sizes);
    add(groups, tasks.begin(task), tasks.end(task), lambda.data(), sizes, work, part);
    part_of[static_cast<std::size_t>(task)] = {lane_sum(part.logdet), part.S.total()};
  });
  PairwiseSum<Matrix> S;
  PairwiseSum<double> logdet;
  for (ValueSums& part : part_of) {
    S.add(std::move(part.S));
    logdet.add(part.logdet);
  }
  return {logdet.total(0.0), S.total(Matrix::Zero(m, m))};
}

}  // namespace blocklmm
