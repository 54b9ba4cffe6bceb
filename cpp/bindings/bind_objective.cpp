#include <memory>

#include "bindings.hpp"
#include "block_objective.hpp"
#include "errors.hpp"
#include "modes.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

using GroupNumbers = py::array_t<Index, py::array::c_style | py::array::forcecast>;

py::array_t<double> column_major(Index n, Index rows, Index columns) {
  const Index size = sizeof(double);
  return py::array_t<double>({n, rows, columns},
                             {rows * columns * size, size, rows * size});
}

}  // namespace

void bind_objective(py::module_& module) {
  py::class_<BlockEvaluation>(module, "BlockEvaluation")
      .def_readonly("value", &BlockEvaluation::value)
      .def_readonly("inverse_factor", &BlockEvaluation::inverse_factor)
      .def_readonly("gradient", &BlockEvaluation::gradient)
      .def_readonly("hessian", &BlockEvaluation::hessian)
      .def_readonly("gamma", &BlockEvaluation::gamma);

  py::class_<BlockObjective>(module, "BlockObjective")
      .def(py::init<const Statistics&, std::vector<Index>, std::vector<Entry>>(),
           py::arg("statistics"), py::arg("x_columns"), py::arg("free_entries"),
           py::call_guard<py::gil_scoped_release>())
      .def("evaluate", &BlockObjective::evaluate, py::kw_only(), py::arg("lambda_"),
           py::arg("reml"), py::arg("derivatives"), py::arg("n_threads"),
           py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("n_patterns", &BlockObjective::n_patterns)
      .def_property_readonly("cross_products",
                             [](const BlockObjective& self) { return self.units().C; })
      .def_property_readonly("z_scale",
                             [](const BlockObjective& self) { return self.units().z_scale; })
      .def_property_readonly("m_scale",
                             [](const BlockObjective& self) { return self.units().m_scale; })
      .def(
          "modes",
          [](const BlockObjective& self, const Statistics& statistics, const Matrix& lambda,
             const Matrix& inverse_factor, const Matrix& basis, const GroupNumbers& groups,
             bool conditional, bool prediction, bool cross) {
            const Index n = groups.size(), q = self.units().q, p = self.units().p;
            py::array_t<double> modes({n, q});
            py::object out[3] = {py::none(), py::none(), py::none()};
            double* data[3] = {nullptr, nullptr, nullptr};
            const bool wanted[3] = {conditional, prediction, cross};
            for (int k = 0; k < 3; ++k) {
              if (!wanted[k]) continue;
              auto array = column_major(n, q, k == 2 ? p : q);
              data[k] = array.mutable_data();
              out[k] = std::move(array);
            }
            double* to = modes.mutable_data();
            {
              const py::gil_scoped_release released;
              conditional_modes(statistics, self.units(), {lambda, inverse_factor, basis},
                                groups.data(), n, to, data[0], data[1], data[2]);
            }
            return py::make_tuple(modes, out[0], out[1], out[2]);
          },
          py::kw_only(), py::arg("statistics"), py::arg("lambda_"), py::arg("inverse_factor"),
          py::arg("basis"), py::arg("groups"), py::arg("conditional"), py::arg("prediction"),
          py::arg("cross"));
}

}  // namespace blocklmm::python
