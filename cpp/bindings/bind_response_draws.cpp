#include "bindings.hpp"
#include "response_draws.hpp"
#include "scipy_blas.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

// A simulator with the order of elimination that it refers to.
struct OwnedDraws {
  OwnedDraws(const Statistics& statistics, std::vector<Index> x_columns, double memory_limit,
             const Blas& blas)
      : plan(statistics, memory_limit), draws(statistics, plan, std::move(x_columns), blas) {}
  Elimination plan;
  ResponseDraws draws;
};

}  // namespace

void bind_response_draws(py::module_& module) {
  py::class_<Response>(module, "Response")
      .def_readonly("Zy", &Response::Zy)
      .def_readonly("x_columns", &Response::x_columns)
      .def_readonly("Xy", &Response::Xy)
      .def_readonly("yy", &Response::yy);

  py::class_<OwnedDraws>(module, "ResponseDraws")
      .def(py::init(
               [](const Statistics& statistics, std::vector<Index> x_columns, double memory_limit) {
                 const Blas blas = scipy_blas();
                 const py::gil_scoped_release released;
                 return std::make_unique<OwnedDraws>(statistics, std::move(x_columns), memory_limit,
                                                     blas);
               }),
           py::kw_only(), py::arg("statistics"), py::arg("x_columns"), py::arg("memory_limit"),
           py::keep_alive<1, 2>())
      .def(
          "draw",
          [](const OwnedDraws& self, const std::vector<Matrix>& lambdas, double sigma,
             std::uint64_t seed, std::uint64_t replicate) {
            const py::gil_scoped_release released;
            Random random(seed, replicate);
            return self.draws.draw(lambdas, sigma, random);
          },
          py::kw_only(), py::arg("lambdas"), py::arg("sigma"), py::arg("seed"),
          py::arg("replicate"))
      .def_property_readonly("rank_of_z",
                             [](const OwnedDraws& self) { return self.draws.rank_of_z(); })
      .def_property_readonly("df_residual",
                             [](const OwnedDraws& self) { return self.draws.df_residual(); });
}

}  // namespace blocklmm::python
