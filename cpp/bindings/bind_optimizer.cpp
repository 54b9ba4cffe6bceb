#include <chrono>

#include "bindings.hpp"
#include "chart.hpp"
#include "criteria.hpp"
#include "errors.hpp"
#include "trust_region.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

// Lets Ctrl-C end a minimisation, at its next evaluation. Called without the GIL; it takes it every
// 20 ms, so that short minimisations pay nothing.
class Interruption {
 public:
  void operator()() {
    const Clock::time_point now = Clock::now();
    if (now < next_) return;
    next_ = now + kEvery;
    const py::gil_scoped_acquire acquired;
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }

 private:
  using Clock = std::chrono::steady_clock;
  static constexpr std::chrono::milliseconds kEvery{20};
  Clock::time_point next_ = Clock::now() + kEvery;
};

template <class Objective>
Optimum minimum(const Objective& objective, const std::vector<Index>& blocks,
                std::vector<Matrix> always, std::vector<Matrix> if_flat, const Criterion& criterion,
                double constant, int n_threads, Index max_evaluations, double tolerance,
                bool with_samples) {
  const py::gil_scoped_release released;
  return minimize(criterion_of(objective, criterion, constant, n_threads, with_samples),
                  Blocks(blocks), {std::move(always), std::move(if_flat)},
                  {max_evaluations, tolerance, Interruption()});
}

template <class Objective>
void bind_minimize(py::module_& module) {
  module.def("minimize", &minimum<Objective>, py::arg("objective"), py::kw_only(),
             py::arg("blocks"), py::arg("always"), py::arg("if_flat"), py::arg("criterion"),
             py::arg("constant"), py::arg("n_threads"), py::arg("max_evaluations"),
             py::arg("tolerance"), py::arg("with_samples") = false);
}

}  // namespace

void bind_optimizer(py::module_& module) {
  py::enum_<Status>(module, "Status")
      .value("closed_form", Status::closed_form)
      .value("optimal", Status::optimal)
      .value("singular", Status::singular)
      .value("uncertified", Status::uncertified)
      .value("stopped", Status::stopped)
      .value("exact_fit", Status::exact_fit);
  py::class_<Optimum>(module, "Optimum")
      .def_readonly("status", &Optimum::status)
      .def_readonly("factor", &Optimum::factor)
      .def_readonly("evaluation", &Optimum::evaluation)
      .def_readonly("n_evaluations", &Optimum::n_evaluations)
      .def_readonly("gradient", &Optimum::gradient)
      .def_readonly("min_eigenvalue", &Optimum::min_eigenvalue)
      .def_readonly("n_flat", &Optimum::n_flat)
      .def_readonly("unidentified", &Optimum::unidentified)
      .def_property_readonly("converged", &Optimum::converged);
  bind_minimize<BlockObjective>(module);
  bind_minimize<SparseObjective>(module);
  bind_minimize<SpreadObjective>(module);
  module.def(
      "trust_region_step",
      [](const Vector& values, const Vector& slopes, double radius) {
        require(values.size() == slopes.size() && values.size() > 0 && radius > 0,
                "slopes along eigenvectors, one a value, and a radius");
        const TrustRegionStep found = trust_region_step(values, slopes, radius);
        return std::pair(found.step, found.predicted);
      },
      py::kw_only(), py::arg("values"), py::arg("slopes"), py::arg("radius"));
  module.def(
      "canonical_factor",
      [](const std::vector<Index>& blocks, const Matrix& factor) {
        return canonical_factor(Blocks(blocks), factor);
      },
      py::kw_only(), py::arg("blocks"), py::arg("factor"));
  module.def(
      "chart",
      [](const std::vector<Index>& sizes, const Matrix& factor) {
        const Blocks blocks(sizes);
        const Chart chart(blocks, factor);
        return py::make_tuple(chart.factor(), chart.basis());
      },
      py::kw_only(), py::arg("blocks"), py::arg("factor"));
}

}  // namespace blocklmm::python
