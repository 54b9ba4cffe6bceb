#include <memory>

#include "bindings.hpp"
#include "block_objective.hpp"
#include "errors.hpp"
#include "modes_arrays.hpp"
#include "moment_start.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

// Matrices of one shape as an array of them, `leading` in front of the shape.
py::array_t<double> stacked(const std::vector<Matrix>& matrices, std::vector<Index> leading) {
  if (leading.empty()) leading = {static_cast<Index>(matrices.size())};
  const Index rows = matrices.empty() ? 0 : matrices[0].rows();
  const Index columns = matrices.empty() ? 0 : matrices[0].cols();
  leading.push_back(rows);
  leading.push_back(columns);
  py::array_t<double> out(leading);
  double* to = out.mutable_data();
  for (const Matrix& M : matrices)
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < columns; ++j) *to++ = M(i, j);
  return out;
}

}  // namespace

void bind_objective(py::module_& module) {
  py::class_<Criterion>(module, "Criterion")
      .def(py::init([](bool reml, double sigma, const Vector& contrast, double at) {
             Criterion out(reml);
             out.sigma = sigma;
             out.contrast = contrast;
             out.at = at;
             return out;
           }),
           py::arg("reml"), py::kw_only(), py::arg("sigma") = 0.0, py::arg("contrast") = Vector(),
           py::arg("at") = 0.0);
  py::implicitly_convertible<bool, Criterion>();

  py::class_<Evaluation>(module, "Evaluation")
      .def_readonly("value", &Evaluation::value)
      .def_readonly("inverse_factor", &Evaluation::inverse_factor)
      .def_readonly("gradient", &Evaluation::gradient)
      .def_readonly("hessian", &Evaluation::hessian)
      .def_readonly("gamma", &Evaluation::gamma)
      .def_readonly("rss_gradient", &Evaluation::rss_gradient);

  py::class_<CovarianceDerivatives>(module, "CovarianceDerivatives")
      .def_readonly("directions", &CovarianceDerivatives::directions)
      .def_property_readonly("S",
                             [](const CovarianceDerivatives& self) { return stacked(self.S, {}); })
      .def_property_readonly("Q",
                             [](const CovarianceDerivatives& self) {
                               const auto n = static_cast<Index>(self.S.size());
                               return stacked(self.Q, {n, n});
                             })
      .def_readonly("traces", &CovarianceDerivatives::traces)
      .def_readonly("trace_pairs", &CovarianceDerivatives::trace_pairs);

  py::class_<BlockObjective>(module, "BlockObjective")
      .def(py::init<const Statistics&, std::vector<Index>, std::vector<Entry>, int>(),
           py::arg("statistics"), py::arg("x_columns"), py::arg("free_entries"),
           py::arg("n_threads") = 1, py::call_guard<py::gil_scoped_release>())
      .def("evaluate", &BlockObjective::evaluate, py::kw_only(), py::arg("lambda_"),
           py::arg("criterion"), py::arg("derivatives"), py::arg("n_threads"), py::arg("every") = 1,
           py::call_guard<py::gil_scoped_release>())
      .def("samples", &BlockObjective::samples)
      .def("covariance_derivatives", &BlockObjective::covariance_derivatives, py::kw_only(),
           py::arg("lambda_"), py::arg("n_threads"), py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("within", [](const BlockObjective& self) { return self.within(); })
      .def_property_readonly("rank_of_z", &BlockObjective::rank_of_z)
      .def_property_readonly("n_patterns", &BlockObjective::n_patterns)
      .def_property_readonly("z_scale",
                             [](const BlockObjective& self) { return self.units().z_scale; })
      .def_property_readonly("m_scale",
                             [](const BlockObjective& self) { return self.units().m_scale; })
      .def(
          "moment_start",
          [](const BlockObjective& self, const Statistics& statistics,
             const std::vector<Index>& sizes) {
            const Blocks blocks(sizes);
            return MomentStart(
                       moment_equations(statistics, self.units(), all_members(statistics), blocks),
                       blocks, self.units().n)
                .factor();
          },
          py::arg("statistics"), py::arg("blocks"), py::call_guard<py::gil_scoped_release>())
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
            return group_modes(statistics, self.units(), {lambda, inverse_factor, basis}, groups,
                               wanted);
          },
          py::kw_only(), py::arg("statistics"), py::arg("lambda_"), py::arg("inverse_factor"),
          py::arg("basis"), py::arg("groups"), py::arg("wanted"));
}

}  // namespace blocklmm::python
