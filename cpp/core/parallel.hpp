#pragma once

#include <algorithm>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "types.hpp"

namespace blocklmm {

// Calls work(task) for task = 0 … n_tasks-1 on up to n_threads threads, the caller's included.
// The cut into tasks never depends on the number of threads: a caller that stores one result per
// task and reduces them in order gets the same bits from any number of threads.
template <class Work>
void for_each_task(Index n_tasks, int n_threads, const Work& work) {
  const Index n_workers = std::min<Index>(std::max(n_threads, 1), n_tasks);
  if (n_workers <= 1) {
    for (Index task = 0; task < n_tasks; ++task) work(task);
    return;
  }
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(n_workers));
  const auto run = [&](Index worker) {
    try {
      for (Index task = worker; task < n_tasks; task += n_workers) work(task);
    } catch (...) {
      failures[static_cast<std::size_t>(worker)] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  Index n_started = 1;
  try {
    for (; n_started < n_workers; ++n_started) threads.emplace_back(run, n_started);
  } catch (const std::system_error&) {
    // no more threads are to be had: the caller does their share
  }
  run(0);
  for (Index worker = n_started; worker < n_workers; ++worker) run(worker);
  for (auto& thread : threads) thread.join();
  for (const auto& failure : failures)
    if (failure) std::rethrow_exception(failure);
}

// A sum of many equally shaped terms in a fixed binary tree: the rounding error grows with the
// logarithm of their number, and the result depends only on their order.
template <class Term>
class PairwiseSum {
 public:
  void add(Term term) {
    std::size_t level = 0;
    for (; level < levels_.size() && occupied_[level]; ++level) {
      levels_[level] += term;
      term = std::move(levels_[level]);
      occupied_[level] = false;
    }
    if (level == levels_.size()) {
      levels_.emplace_back();
      occupied_.push_back(false);
    }
    levels_[level] = std::move(term);
    occupied_[level] = true;
  }

  Term total(Term zero) const {
    for (std::size_t level = 0; level < levels_.size(); ++level)
      if (occupied_[level]) zero += levels_[level];
    return zero;
  }

 private:
  std::vector<Term> levels_;
  std::vector<bool> occupied_;
};

// The same of terms that are all there; they are used up. zero: the sum of none.
template <class Term>
Term pairwise_total(std::vector<Term>& terms, Term zero) {
  if (terms.empty()) return zero;
  for (std::size_t step = 1; step < terms.size(); step *= 2)
    for (std::size_t i = 0; i + step < terms.size(); i += 2 * step) terms[i] += terms[i + step];
  return std::move(terms[0]);
}

}  // namespace blocklmm
