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
  return py::array_t<double>({n, rows, columns}, {rows * columns * size, size, rows * size});
}

double* ModesResult::* field_of(const std::string& name) {
  if (name == "modes") return &ModesResult::modes;
  if (name == "conditional") return &ModesResult::conditional;
  if (name == "prediction") return &ModesResult::prediction;
  if (name == "cross") return &ModesResult::cross;
  if (name == "own") return &ModesResult::own;
  if (name == "weight") return &ModesResult::weight;
  throw InvalidArgument("unknown result: " + name);
}

bool is_vector(const std::string& name) {
  return name == "modes" || name == "own" || name == "weight";
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
      .def_property_readonly("within", [](const BlockObjective& self) { return self.within(); })
      .def_property_readonly("rank_of_z", &BlockObjective::rank_of_z)
      .def_property_readonly("n_patterns", &BlockObjective::n_patterns)
      .def_property_readonly("z_scale",
                             [](const BlockObjective& self) { return self.units().z_scale; })
      .def_property_readonly("m_scale",
                             [](const BlockObjective& self) { return self.units().m_scale; })
      .def(
          "own_fits",
          [](const BlockObjective& self, const Statistics& statistics) {
            return own_fits(statistics, self.units());
          },
          py::call_guard<py::gil_scoped_release>())
      .def(
          "modes",
          [](const BlockObjective& self, const Statistics& statistics, const Matrix& lambda,
             const Matrix& inverse_factor, const Matrix& basis, const GroupNumbers& groups,
             const std::vector<std::string>& wanted) {
            const Index n = groups.size(), q = self.units().q, p = self.units().p;
            ModesResult to;
            py::dict out;
            for (const std::string& name : wanted) {
              double* ModesResult::* slot = field_of(name);
              const Index columns = name == "cross" ? p : q;
              py::array_t<double> array =
                  is_vector(name) ? py::array_t<double>({n, q}) : column_major(n, q, columns);
              to.*slot = array.mutable_data();
              out[name.c_str()] = std::move(array);
            }
            {
              const py::gil_scoped_release released;
              conditional_modes(statistics, self.units(), {lambda, inverse_factor, basis},
                                groups.data(), n, to);
            }
            return out;
          },
          py::kw_only(), py::arg("statistics"), py::arg("lambda_"), py::arg("inverse_factor"),
          py::arg("basis"), py::arg("groups"), py::arg("wanted"));
}

}  // namespace blocklmm::python
