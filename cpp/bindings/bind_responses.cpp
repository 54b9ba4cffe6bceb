#include <optional>

#include "arrays.hpp"
#include "bindings.hpp"
#include "errors.hpp"
#include "refit_arrays.hpp"
#include "response_fits.hpp"
#include "scipy_blas.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

using Levels = py::array_t<std::int32_t, py::array::c_style>;
using Used = py::array_t<bool, py::array::c_style>;

// Arrays that the core reads; they live as long as the call's arguments.
DesignRows rows_of(const std::vector<py::object>& sources, const std::vector<Levels>& levels,
                   const std::optional<Used>& used, Index n_rows) {
  DesignRows rows;
  rows.n = n_rows;
  for (const py::object& array : sources)
    rows.sources.push_back(array.is_none() ? Source() : source_of(array, n_rows));
  for (const Levels& of_factor : levels) {
    require(of_factor.size() == n_rows, "a level of each row");
    rows.levels.push_back(of_factor.data());
  }
  if (used) {
    require(used->size() == n_rows, "a flag for each row");
    rows.used = reinterpret_cast<const std::uint8_t*>(used->data());
  }
  return rows;
}

ResponseArray responses_of(const py::array& Y) {
  const char kind = Y.dtype().kind();
  const auto size = Y.dtype().itemsize();
  require(Y.ndim() == 2 && kind == 'f' && (size == 8 || size == 4) && Y.dtype().byteorder() != '>',
          "responses are a matrix of float64 or float32, a column each");
  return {static_cast<const std::byte*>(Y.data()), Y.strides(0), Y.strides(1), Y.shape(1),
          size == 4};
}

std::vector<const Matrix*> each(const std::vector<ResponseDerivatives>& found,
                                Matrix ResponseDerivatives::* part) {
  std::vector<const Matrix*> out;
  for (const ResponseDerivatives& d : found) out.push_back(&(d.*part));
  return out;
}

py::dict arrays_of(const std::vector<ResponseDerivatives>& found, const ModelColumns& columns) {
  const Blocks blocks(columns.blocks);
  const Index q = blocks.q(), d = blocks.n_pairs(), c = blocks.n_pairs();
  const auto m = static_cast<Index>(columns.x_columns.size()) + 1;
  py::dict out;
  std::vector<const Matrix*> S;
  for (const ResponseDerivatives& one : found)
    for (const Matrix& S_k : one.S) S.push_back(&S_k);
  out["S"] = stacked(S, m, m).reshape({static_cast<Index>(found.size()), d, m, m});
  out["Q_ee"] = stacked(each(found, &ResponseDerivatives::Q_ee), d, d);
  out["Q_trace"] = stacked(each(found, &ResponseDerivatives::Q_trace), d, d);
  out["trace_pairs"] = stacked(each(found, &ResponseDerivatives::trace_pairs), d, d);
  out["gamma"] = stacked(each(found, &ResponseDerivatives::gamma), q, q);
  out["F"] = stacked(each(found, &ResponseDerivatives::F), q, q);
  out["basis"] = stacked(each(found, &ResponseDerivatives::basis), blocks.n_entries(), c);
  return out;
}

}  // namespace

void bind_responses(py::module_& module) {
  py::class_<Responses>(module, "Responses")
      .def_readonly("shift", &Responses::shift)
      .def_readonly("sum", &Responses::sum)
      .def_readonly("yy", &Responses::yy)
      .def_readonly("plain_yy", &Responses::plain_yy)
      .def_readonly("Xy", &Responses::Xy)
      .def_readonly("Zy", &Responses::Zy)
      .def("__len__", &Responses::n)
      .def(
          "replace_response",
          [](const Responses& self, Index k, Statistics& statistics) {
            const py::gil_scoped_release released;
            statistics.replace_response(self.response(k));
            statistics.replace_totals(self.shift[k], self.sum[k], self.plain_yy[k]);
          },
          py::arg("k"), py::arg("statistics"));

  py::class_<ProductsPlan>(module, "ProductsPlan")
      .def(py::init([](const std::vector<py::tuple>& recipes, std::vector<Index> columns,
                       const Vector& shift, std::vector<Index> offsets, Index weight, bool shifted,
                       const std::vector<std::pair<std::vector<Index>, Index>>& factors) {
             ProductsPlan plan;
             for (const py::tuple& spec : recipes) plan.recipes.push_back(recipe_of(spec));
             plan.columns = std::move(columns);
             plan.shift = shift;
             plan.offsets = std::move(offsets);
             plan.weight = weight;
             plan.shifted = shifted;
             for (const auto& [own, n_levels] : factors) plan.factors.push_back({own, n_levels});
             return plan;
           }),
           py::kw_only(), py::arg("recipes"), py::arg("columns"), py::arg("shift"),
           py::arg("offsets"), py::arg("weight"), py::arg("shifted"), py::arg("factors"));

  module.def(
      "response_products",
      [](const ProductsPlan& plan, const std::vector<py::object>& sources,
         const std::vector<Levels>& levels, const std::optional<Used>& used, const py::array& Y,
         int n_threads) {
        const ResponseArray responses = responses_of(Y);
        const DesignRows rows = rows_of(sources, levels, used, Y.shape(0));
        const py::gil_scoped_release released;
        return response_products(plan, rows, responses, n_threads);
      },
      py::arg("plan"), py::kw_only(), py::arg("sources"), py::arg("levels"), py::arg("used"),
      py::arg("Y"), py::arg("n_threads"));
  module.def(
      "count_not_finite",
      [](const std::optional<Used>& used, const py::array& Y, int n_threads) {
        const ResponseArray responses = responses_of(Y);
        const DesignRows rows = rows_of({}, {}, used, Y.shape(0));
        std::vector<Index> found;
        {
          const py::gil_scoped_release released;
          found = count_not_finite(rows, responses, n_threads);
        }
        return py::array_t<Index>(static_cast<Index>(found.size()), found.data());
      },
      py::kw_only(), py::arg("used"), py::arg("Y"), py::arg("n_threads"));

  py::class_<ResponseFits>(module, "ResponseFits")
      .def(py::init([](const Statistics& statistics, std::vector<Index> x_columns, Members members,
                       std::vector<Index> blocks, const Criterion& criterion, double constant,
                       const Vector& inflation, const Matrix& z_basis, double nearly_exact,
                       double rounding_left, double far_apart, Index max_evaluations,
                       double tolerance, double memory_limit) {
             return std::make_unique<ResponseFits>(
                 statistics,
                 ResponseModel{
                     {std::move(x_columns), std::move(members), std::move(blocks), criterion},
                     constant,
                     inflation,
                     z_basis,
                     nearly_exact,
                     rounding_left,
                     far_apart},
                 OptimizerOptions{max_evaluations, tolerance, {}}, scipy_blas(), memory_limit);
           }),
           py::kw_only(), py::arg("statistics"), py::arg("x_columns"), py::arg("members"),
           py::arg("blocks"), py::arg("criterion"), py::arg("constant"), py::arg("inflation"),
           py::arg("z_basis"), py::arg("nearly_exact"), py::arg("rounding_left"),
           py::arg("far_apart"), py::arg("max_evaluations"), py::arg("tolerance"),
           py::arg("memory_limit"), py::keep_alive<1, 2>())
      .def(
          "run",
          [](ResponseFits& self, const Responses& responses, Index first, Index n, int n_threads) {
            std::vector<ResponseFit> found;
            {
              const py::gil_scoped_release released;
              found = self.run(responses, first, n, n_threads);
            }
            const ModelColumns& columns = self.model().columns;
            const Blocks blocks(columns.blocks);
            py::array_t<bool> needs_rows(n);
            py::array_t<double> theta({n, blocks.n_pairs()});
            py::array_t<std::int32_t> unidentified(n), evaluations(n);
            std::vector<const Refit*> fits;
            for (Index k = 0; k < n; ++k) {
              const ResponseFit& fit = found[static_cast<std::size_t>(k)];
              needs_rows.mutable_at(k) = fit.needs_rows;
              for (Index j = 0; j < blocks.n_pairs(); ++j)
                theta.mutable_at(k, j) = fit.needs_rows ? std::nan("") : fit.theta[j];
              unidentified.mutable_at(k) = static_cast<std::int32_t>(fit.refit.unidentified.size());
              evaluations.mutable_at(k) = static_cast<std::int32_t>(fit.refit.n_evaluations);
              fits.push_back(&fit.refit);
            }
            py::dict out =
                refit_arrays(fits, blocks.q(), static_cast<Index>(columns.x_columns.size()));
            out["needs_rows"] = needs_rows;
            out["theta"] = theta;
            out["n_unidentified"] = unidentified;
            out["n_evaluations"] = evaluations;
            return out;
          },
          py::kw_only(), py::arg("responses"), py::arg("first"), py::arg("n"), py::arg("n_threads"))
      .def(
          "derivatives",
          [](ResponseFits& self, const Responses& responses, const std::vector<Index>& numbers,
             const std::vector<Matrix>& factors, int n_threads) {
            std::vector<ResponseDerivatives> found;
            {
              const py::gil_scoped_release released;
              found = self.derivatives(responses, numbers, factors, n_threads);
            }
            return arrays_of(found, self.model().columns);
          },
          py::kw_only(), py::arg("responses"), py::arg("numbers"), py::arg("factors"),
          py::arg("n_threads"));
}

}  // namespace blocklmm::python
