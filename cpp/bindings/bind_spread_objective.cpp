#include <pybind11/functional.h>

#include <utility>

#include "bindings.hpp"
#include "errors.hpp"
#include "modes_arrays.hpp"
#include "partial_sums.hpp"
#include "spread_objective.hpp"

namespace py = pybind11;

namespace blocklmm::python {

void bind_spread_objective(py::module_& module) {
  py::class_<Standardization>(module, "Standardization")
      .def(py::init([](const Statistics& statistics, std::vector<Index> x_columns) {
             return Standardization(statistics, std::move(x_columns), all_members(statistics));
           }),
           py::arg("statistics"), py::arg("x_columns"))
      .def_property_readonly("z_scale", [](const Standardization& self) { return self.z_scale; })
      .def_property_readonly("m_scale", [](const Standardization& self) { return self.m_scale; })
      .def(py::pickle(
          [](const Standardization& self) {
            return py::make_tuple(self.n, self.m_columns, self.z_scale, self.m_scale, self.C);
          },
          [](const py::tuple& state) {
            return Standardization(state[0].cast<Index>(), state[1].cast<std::vector<Index>>(),
                                   state[2].cast<Vector>(), state[3].cast<Vector>(),
                                   state[4].cast<Matrix>());
          }));

  py::class_<PartialSums>(module, "PartialSums")
      .def(py::init<const Statistics&, Standardization>(), py::arg("part"), py::arg("units"),
           py::call_guard<py::gil_scoped_release>())
      .def("sums", &PartialSums::sums, py::kw_only(), py::arg("lambda_"), py::arg("N"),
           py::arg("derivatives"), py::arg("n_threads"), py::call_guard<py::gil_scoped_release>())
      .def(
          "modes",
          [](const PartialSums& self, const Statistics& statistics, const Matrix& lambda,
             const Matrix& inverse_factor, const Matrix& basis, const GroupNumbers& groups,
             const std::vector<std::string>& wanted) {
            return group_modes(statistics, self.units(), {lambda, inverse_factor, basis}, groups,
                               wanted);
          },
          py::kw_only(), py::arg("statistics"), py::arg("lambda_"), py::arg("inverse_factor"),
          py::arg("basis"), py::arg("groups"), py::arg("wanted"))
      .def_property_readonly("explained", &PartialSums::explained)
      .def_property_readonly("rank_of_z", &PartialSums::rank_of_z);

  // The callback is called without the GIL, which std::function of pybind11 takes.
  py::class_<SpreadObjective>(module, "SpreadObjective")
      .def(py::init<Standardization, const Matrix&, Index, std::vector<Entry>,
                    SpreadObjective::Gather>(),
           py::kw_only(), py::arg("units"), py::arg("explained"), py::arg("rank_of_z"),
           py::arg("free_entries"), py::arg("gather"))
      .def(
          "evaluate",
          [](const SpreadObjective& self, const Matrix& lambda, const Criterion& criterion,
             bool derivatives,
             int /*n_threads*/) { return self.evaluate(lambda, criterion, derivatives); },
          py::kw_only(), py::arg("lambda_"), py::arg("criterion"), py::arg("derivatives"),
          py::arg("n_threads"), py::call_guard<py::gil_scoped_release>())
      .def(
          "covariance_derivatives",
          [](const SpreadObjective& self, const Matrix& lambda, int /*n_threads*/) {
            return self.covariance_derivatives(lambda);
          },
          py::kw_only(), py::arg("lambda_"), py::arg("n_threads"),
          py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("within", [](const SpreadObjective& self) { return self.within(); })
      .def_property_readonly("rank_of_z", &SpreadObjective::rank_of_z)
      .def_property_readonly("z_scale",
                             [](const SpreadObjective& self) { return self.units().z_scale; })
      .def_property_readonly("m_scale",
                             [](const SpreadObjective& self) { return self.units().m_scale; });
}

}  // namespace blocklmm::python
