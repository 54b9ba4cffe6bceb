#include "bindings.hpp"
#include "bootstrap.hpp"
#include "refit_arrays.hpp"
#include "scipy_blas.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

struct OwnedBootstrap {
  std::vector<BootstrapModel> models;
  std::unique_ptr<Bootstrap> bootstrap;
};

}  // namespace

void bind_bootstrap(py::module_& module) {
  py::class_<BootstrapModel>(module, "BootstrapModel")
      .def(py::init([](Statistics::Effects effects, std::vector<Index> x_columns, Members members,
                       std::vector<Index> blocks, const Criterion& criterion,
                       std::vector<Matrix> always, std::vector<Matrix> if_flat) {
             return BootstrapModel{
                 std::move(effects),
                 {std::move(x_columns), std::move(members), std::move(blocks), criterion},
                 {std::move(always), std::move(if_flat)}};
           }),
           py::kw_only(), py::arg("effects"), py::arg("x_columns"), py::arg("members"),
           py::arg("blocks"), py::arg("criterion"), py::arg("always"), py::arg("if_flat"));

  py::class_<OwnedBootstrap>(module, "Bootstrap")
      .def(py::init([](const Statistics& statistics, std::vector<Index> x_columns,
                       std::vector<Matrix> lambdas, double sigma,
                       std::vector<BootstrapModel> models, Index max_evaluations, double tolerance,
                       double certified_tolerance, double memory_limit, std::uint64_t seed) {
             const Blas blas = scipy_blas();
             const py::gil_scoped_release released;
             auto out = std::make_unique<OwnedBootstrap>();
             out->models = models;
             out->bootstrap = std::make_unique<Bootstrap>(
                 statistics, std::move(x_columns), std::move(lambdas), sigma, std::move(models),
                 OptimizerOptions{max_evaluations, tolerance, {}, certified_tolerance}, blas,
                 memory_limit, seed);
             return out;
           }),
           py::kw_only(), py::arg("statistics"), py::arg("x_columns"), py::arg("lambdas"),
           py::arg("sigma"), py::arg("models"), py::arg("max_evaluations"), py::arg("tolerance"),
           py::arg("certified_tolerance"), py::arg("memory_limit"), py::arg("seed"),
           py::keep_alive<1, 2>())
      .def(
          "run",
          [](OwnedBootstrap& self, Index first, Index n, int n_threads) {
            std::vector<Refit> found;
            {
              const py::gil_scoped_release released;
              found = self.bootstrap->run(first, n, n_threads);
            }
            py::list out;
            for (std::size_t k = 0; k < self.models.size(); ++k) {
              const ModelColumns& columns = self.models[k].columns;
              std::vector<const Refit*> own;
              for (std::size_t i = k; i < found.size(); i += self.models.size())
                own.push_back(&found[i]);
              out.append(refit_arrays(own, Blocks(columns.blocks).q(),
                                      static_cast<Index>(columns.x_columns.size())));
            }
            return out;
          },
          py::kw_only(), py::arg("first"), py::arg("n"), py::arg("n_threads"))
      .def_property_readonly("seconds", [](const OwnedBootstrap& self) {
        const Bootstrap::Seconds& s = self.bootstrap->seconds();
        return py::make_tuple(s.drawing, s.fitting);
      });
}

}  // namespace blocklmm::python
