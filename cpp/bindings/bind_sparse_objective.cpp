#include "bindings.hpp"
#include "errors.hpp"
#include "modes_arrays.hpp"
#include "moment_start.hpp"
#include "scipy_blas.hpp"
#include "sparse_objective.hpp"

namespace py = pybind11;

namespace blocklmm::python {

using LevelNumbers = py::array_t<Index, py::array::c_style | py::array::forcecast>;

void bind_sparse_objective(py::module_& module) {
  py::enum_<ExactHessian>(module, "ExactHessian")
      .value("never", ExactHessian::never)
      .value("always", ExactHessian::always);
  py::class_<SparseObjective>(module, "SparseObjective")
      .def(py::init([](const Statistics& statistics, std::vector<Index> x_columns, Members members,
                       std::vector<Index> blocks, double memory_limit) {
             const Blas blas = scipy_blas();
             const py::gil_scoped_release released;
             return std::make_unique<SparseObjective>(statistics, std::move(x_columns),
                                                      std::move(members), std::move(blocks), blas,
                                                      memory_limit);
           }),
           py::kw_only(), py::arg("statistics"), py::arg("x_columns"), py::arg("members"),
           py::arg("blocks"), py::arg("memory_limit"), py::keep_alive<1, 2>())
      .def("evaluate", &SparseObjective::evaluate, py::kw_only(), py::arg("lambda_"),
           py::arg("criterion"), py::arg("derivatives"), py::arg("exact_hessian"),
           py::arg("n_threads"), py::call_guard<py::gil_scoped_release>())
      .def("covariance_derivatives", &SparseObjective::covariance_derivatives, py::kw_only(),
           py::arg("lambda_"), py::arg("n_threads"), py::call_guard<py::gil_scoped_release>())
      .def(
          "modes",
          [](const SparseObjective& self, const Matrix& lambda, const Matrix& inverse_factor,
             const std::vector<Matrix>& bases, const std::vector<std::string>& wanted,
             int n_threads) {
            const Statistics& statistics = self.statistics();
            require(static_cast<Index>(bases.size()) == statistics.n_factors(),
                    "a basis for each factor");
            std::vector<ModesResult> to;
            py::list out;
            for (std::size_t f = 0; f < bases.size(); ++f) {
              py::dict arrays;
              const LevelRecords& records = statistics.factor(static_cast<Index>(f));
              to.push_back(modes_arrays(wanted, records.n_levels(), records.n_random(),
                                        self.units().p, arrays));
              out.append(arrays);
            }
            {
              const py::gil_scoped_release released;
              self.modes(lambda, inverse_factor, bases, n_threads, to);
            }
            return out;
          },
          py::kw_only(), py::arg("lambda_"), py::arg("inverse_factor"), py::arg("bases"),
          py::arg("wanted"), py::arg("n_threads"))
      .def(
          "covariances",
          [](const SparseObjective& self, const Matrix& lambda, Index f, Index g,
             const LevelNumbers& i, const LevelNumbers& j, int n_threads) {
            const Index n_factors = self.statistics().n_factors();
            require(f >= 0 && f < n_factors && g >= 0 && g < n_factors, "two factors");
            require(i.size() == j.size(), "pairs of levels");
            py::array_t<double> out = column_major(i.size(), self.statistics().factor(f).n_random(),
                                                   self.statistics().factor(g).n_random());
            double* to = out.mutable_data();
            const Index *from_i = i.data(), *from_j = j.data(), n = i.size();
            {
              const py::gil_scoped_release released;
              self.covariances(lambda, f, g, from_i, from_j, n, n_threads, to);
            }
            return out;
          },
          py::kw_only(), py::arg("lambda_"), py::arg("f"), py::arg("g"), py::arg("i"), py::arg("j"),
          py::arg("n_threads"))
      .def("moment_equations",
           [](const SparseObjective& self) {
             const MomentEquations found = self.moment_equations();
             return py::make_tuple(found.pairs, found.expected, found.observed);
           })
      .def("moment_start",
           [](const SparseObjective& self) {
             const py::gil_scoped_release released;
             return MomentStart(self.moment_equations(), Blocks(self.blocks()), self.units().n)
                 .factor();
           })
      .def("take_seconds", &SparseObjective::take_seconds)
      .def_property_readonly("z_scale",
                             [](const SparseObjective& self) { return self.units().z_scale; })
      .def_property_readonly("m_scale",
                             [](const SparseObjective& self) { return self.units().m_scale; })
      .def_property_readonly("plan", [](const SparseObjective& self) {
        const Elimination& plan = self.plan();
        py::dict out;
        out["leaf"] = plan.leaf;
        out["n_effects"] = plan.n_leaves * plan.leaf_width + plan.n_rest;
        out["n_rest"] = plan.n_rest;
        out["n_middle"] = plan.n_middle;
        out["n_dense"] = plan.n_dense();
        out["block_factor"] = plan.block_factor;
        out["n_stored"] = plan.n_stored;
        out["n_filled"] = plan.n_filled;
        out["bytes"] = plan.bytes;
        out["is_small"] = plan.is_small();
        return out;
      });
}

}  // namespace blocklmm::python
