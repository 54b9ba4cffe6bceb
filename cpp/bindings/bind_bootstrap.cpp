#include "bindings.hpp"
#include "bootstrap.hpp"
#include "errors.hpp"
#include "scipy_blas.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

// One model's replicates as arrays, the replicate first.
py::dict arrays_of(const std::vector<Replicate>& all, std::size_t model, std::size_t n_models,
                   const BootstrapModel& plan) {
  const auto n = static_cast<Index>(all.size() / n_models);
  Index q = 0;
  for (const Index size : plan.blocks) q += size;
  const auto p = static_cast<Index>(plan.x_columns.size());
  py::array_t<double> value(n), sigma(n), factor({n, q, q}), beta({n, p}), inverse({n, p, p});
  py::array_t<bool> converged(n);
  for (Index k = 0; k < n; ++k) {
    const Replicate& r = all[static_cast<std::size_t>(k) * n_models + model];
    const bool is_there = r.status != Status::exact_fit;
    value.mutable_at(k) = is_there ? r.value : std::nan("");
    sigma.mutable_at(k) = is_there ? r.sigma : std::nan("");
    converged.mutable_at(k) = r.status == Status::closed_form || r.status == Status::optimal ||
                              r.status == Status::singular;
    for (Index i = 0; i < q; ++i)
      for (Index j = 0; j < q; ++j)
        factor.mutable_at(k, i, j) = is_there ? r.factor(i, j) : std::nan("");
    for (Index i = 0; i < p; ++i) {
      beta.mutable_at(k, i) = is_there ? r.beta[i] : std::nan("");
      for (Index j = 0; j < p; ++j)
        inverse.mutable_at(k, i, j) = is_there ? r.inverse_factor(i, j) : std::nan("");
    }
  }
  py::dict out;
  out["value"] = value;
  out["sigma"] = sigma;
  out["converged"] = converged;
  out["factor"] = factor;
  out["beta"] = beta;
  out["inverse_factor"] = inverse;
  return out;
}

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
             return BootstrapModel{std::move(effects), std::move(x_columns),
                                   std::move(members), std::move(blocks),
                                   criterion,          {std::move(always), std::move(if_flat)}};
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
            std::vector<Replicate> found;
            {
              const py::gil_scoped_release released;
              found = self.bootstrap->run(first, n, n_threads);
            }
            py::list out;
            for (std::size_t k = 0; k < self.models.size(); ++k)
              out.append(arrays_of(found, k, self.models.size(), self.models[k]));
            return out;
          },
          py::kw_only(), py::arg("first"), py::arg("n"), py::arg("n_threads"))
      .def_property_readonly("seconds", [](const OwnedBootstrap& self) {
        const Bootstrap::Seconds& s = self.bootstrap->seconds();
        return py::make_tuple(s.drawing, s.fitting);
      });
}

}  // namespace blocklmm::python
