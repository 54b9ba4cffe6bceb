#include "bindings.hpp"
#include "cluster_robust.hpp"
#include "errors.hpp"
#include "modes_arrays.hpp"
#include "scipy_blas.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

// New arrays for the wanted results of n clusters, put into a dict by name, and where to write them.
ClusterResult cluster_arrays(const std::vector<std::string>& wanted, Index n, Index p, Index q,
                             Index c, py::dict& out) {
  ClusterResult to;
  for (const std::string& name : wanted) {
    const auto keep = [&](py::array_t<double> array) {
      double* data = array.mutable_data();
      out[name.c_str()] = std::move(array);
      return data;
    };
    if (name == "n_rows")
      to.n_rows = keep(py::array_t<double>(n));
    else if (name == "scores")
      to.scores = keep(py::array_t<double>({n, p}));
    else if (name == "variance")
      to.variance = keep(column_major(n, c, c));
    else if (name == "reach")
      to.reach = keep(column_major(n, p, c));
    else if (name == "leverage")
      to.leverage = keep(column_major(n, p, p));
    else if (name == "square")
      to.square = keep(py::array_t<double>(n));
    else if (name == "A")
      to.A = keep(column_major(n, q, q));
    else if (name == "moments")
      to.moments = keep(column_major(n, q * (p + 1), q * (p + 1)));
    else
      throw InvalidArgument("unknown result: " + name);
  }
  return to;
}

}  // namespace

void bind_clusters(py::module_& module) {
  py::enum_<Adjustment>(module, "Adjustment")
      .value("none", Adjustment::none)
      .value("symmetric", Adjustment::symmetric)
      .value("jackknife", Adjustment::jackknife);
  py::class_<ClusterSpans>(module, "ClusterSpans")
      .def(py::init([](const Statistics& rows, const Statistics& pairs, Index cluster,
                       std::vector<Index> x_columns, std::vector<Index> z_columns,
                       std::vector<std::vector<Index>> members, const Matrix& lambda,
                       const Matrix& N) {
             require(cluster >= 0 && cluster < rows.n_factors(), "a factor's number");
             const Blas blas = scipy_blas();
             const py::gil_scoped_release released;
             return std::make_unique<ClusterSpans>(
                 rows, pairs,
                 ClusterFit{cluster, std::move(x_columns), std::move(z_columns), std::move(members),
                            lambda, N},
                 blas);
           }),
           py::kw_only(), py::arg("rows"), py::arg("pairs"), py::arg("cluster"),
           py::arg("x_columns"), py::arg("z_columns"), py::arg("members"), py::arg("lambda_"),
           py::arg("N"), py::keep_alive<1, 2>(), py::keep_alive<1, 3>())
      .def(
          "sums",
          [](const ClusterSpans& self, Index first, Index n, Index z_factor, Adjustment adjustment,
             const Matrix& contrasts, const std::vector<std::string>& wanted, int n_threads) {
            require(z_factor >= 0 && z_factor < self.n_factors(), "a factor's number");
            py::dict out;
            const ClusterResult to =
                cluster_arrays(wanted, n, self.p(), self.q(z_factor), contrasts.cols(), out);
            {
              const py::gil_scoped_release released;
              cluster_sums(self, first, n, z_factor, adjustment, contrasts, to, n_threads);
            }
            return out;
          },
          py::kw_only(), py::arg("first"), py::arg("n"), py::arg("z_factor"), py::arg("adjustment"),
          py::arg("contrasts"), py::arg("wanted"), py::arg("n_threads"))
      .def_property_readonly("n_clusters", &ClusterSpans::n_clusters)
      .def_property_readonly("largest_side", &ClusterSpans::largest_side);
}

}  // namespace blocklmm::python
