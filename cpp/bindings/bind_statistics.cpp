#include "bindings.hpp"
#include "errors.hpp"
#include "rank.hpp"
#include "statistics.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

Scalar scalar_of(const py::dtype& dtype) {
  const char kind = dtype.kind();
  const auto size = dtype.itemsize();
  if (kind == 'b') return Scalar::boolean;
  if (kind == 'f' && size == 8) return Scalar::f64;
  if (kind == 'f' && size == 4) return Scalar::f32;
  if (kind == 'i' && size == 8) return Scalar::i64;
  if (kind == 'i' && size == 4) return Scalar::i32;
  if (kind == 'i' && size == 2) return Scalar::i16;
  if (kind == 'i' && size == 1) return Scalar::i8;
  if (kind == 'u' && size == 8) return Scalar::u64;
  if (kind == 'u' && size == 4) return Scalar::u32;
  if (kind == 'u' && size == 2) return Scalar::u16;
  if (kind == 'u' && size == 1) return Scalar::u8;
  throw InvalidArgument("columns are arrays of native floats, integers or booleans");
}

Source source_of(const py::array& array, Index n_rows) {
  require(array.ndim() == 1 && array.shape(0) == n_rows, "columns are vectors of equal length");
  require(array.dtype().byteorder() != '>', "columns are in the machine's byte order");
  return {static_cast<const std::byte*>(array.data()), array.strides(0), scalar_of(array.dtype())};
}

Recipe recipe_of(const py::tuple& spec) {
  const auto kind = spec[0].cast<std::string>();
  Recipe recipe;
  if (kind == "constant") {
    recipe.kind = Recipe::Kind::constant;
  } else if (kind == "numeric") {
    recipe.kind = Recipe::Kind::numeric;
    recipe.source = spec[1].cast<Index>();
  } else if (kind == "lookup") {
    recipe.kind = Recipe::Kind::lookup;
    recipe.source = spec[1].cast<Index>();
    recipe.table = spec[2].cast<std::vector<double>>();
  } else if (kind == "product" || kind == "difference") {
    recipe.kind = kind == "product" ? Recipe::Kind::product : Recipe::Kind::difference;
    recipe.operands = spec[1].cast<std::vector<Index>>();
  } else if (kind == "centred") {
    recipe.kind = Recipe::Kind::centred;
    recipe.operands = {spec[1].cast<Index>()};
    recipe.table = {spec[2].cast<double>()};
  } else {
    throw InvalidArgument("unknown kind of column: " + kind);
  }
  return recipe;
}

py::list issues_of(const std::vector<RowIssues>& issues) {
  py::list out;
  for (const RowIssues& issue : issues) out.append(py::make_tuple(issue.count, issue.first));
  return out;
}

// Z_i'U_i of all groups as a (groups, q, u) array: for tests and reports, not for fitting.
py::array_t<double> group_products(const Statistics& self) {
  const Index q = self.n_random(), u = self.n_columns();
  py::array_t<double> out({self.n_groups(), q, u});
  auto view = out.mutable_unchecked<3>();
  for (Index i = 0; i < self.n_groups(); ++i)
    for (Index a = 0; a < q; ++a)
      for (Index b = 0; b < u; ++b) view(i, a, b) = self.record(i)[self.position(a, b)];
  return out;
}

py::tuple saved(const Statistics& self) {
  const Statistics::State state = self.state();
  return py::make_tuple(
      state.n_columns, state.n_random, state.n_groups, state.n_rows_used, state.n_rows_seen,
      state.log_weights, state.shift, state.sums, state.cross, state.plain,
      py::array_t<double>(static_cast<Index>(state.records.size()), state.records.data()),
      state.group_fits);
}

Statistics restored(const py::tuple& saved) {
  require(saved.size() == 12, "a saved state of another version");
  const auto records = saved[10].cast<py::array_t<double, py::array::c_style>>();
  return Statistics(Statistics::State{saved[0].cast<Index>(),
                                      saved[1].cast<Index>(),
                                      saved[2].cast<Index>(),
                                      saved[3].cast<Index>(),
                                      saved[4].cast<Index>(),
                                      saved[5].cast<double>(),
                                      saved[6].cast<Vector>(),
                                      saved[7].cast<Vector>(),
                                      saved[8].cast<Vector>(),
                                      saved[9].cast<Vector>(),
                                      {records.data(), records.data() + records.size()},
                                      saved[11].cast<Matrix>()});
}

}  // namespace

void bind_statistics(py::module_& module) {
  py::class_<Statistics>(module, "Statistics")
      .def(py::init([](const std::vector<py::tuple>& recipes, std::vector<Index> columns,
                       std::vector<bool> shifted, Index n_random, Index n_sources, Index weight,
                       Index n_slots) {
             StatisticsPlan plan;
             for (const py::tuple& spec : recipes) plan.recipes.push_back(recipe_of(spec));
             plan.columns = std::move(columns);
             plan.shifted.assign(shifted.begin(), shifted.end());
             plan.n_random = n_random;
             plan.n_sources = n_sources;
             plan.weight = weight;
             return Statistics(std::move(plan), n_slots);
           }),
           py::kw_only(), py::arg("recipes"), py::arg("columns"), py::arg("shifted"),
           py::arg("n_random"), py::arg("n_sources"), py::arg("weight"), py::arg("n_slots"))
      .def("adopt", &Statistics::adopt, py::arg("shift"), py::arg("response_fit"),
           py::arg("group_fits"))
      .def(
          "update",
          [](Statistics& self, const std::vector<py::array>& arrays, const py::array& labels,
             std::int64_t base, int n_threads) {
            const Index n_rows = labels.shape(0);
            std::vector<Source> sources;
            for (const py::array& array : arrays) sources.push_back(source_of(array, n_rows));
            const Source groups = source_of(labels, n_rows);
            const py::gil_scoped_release released;
            self.update(sources, groups, base, n_rows, n_threads);
          },
          py::arg("sources"), py::arg("labels"), py::arg("base"), py::arg("n_threads"))
      .def("finish", &Statistics::finish)
      .def("cross_products", &Statistics::cross_products)
      .def("plain_cross_products", &Statistics::plain_cross_products)
      .def_property_readonly("sums", [](const Statistics& self) { return Vector(self.sums()); })
      .def("group_products", &group_products)
      .def("group_rows",
           [](const Statistics& self) {
             py::array_t<std::int64_t> out(self.n_groups());
             auto view = out.mutable_unchecked<1>();
             for (Index i = 0; i < self.n_groups(); ++i) view(i) = self.group_rows(i);
             return out;
           })
      .def_property_readonly("n_groups", &Statistics::n_groups)
      .def_property_readonly("n_rows_used", &Statistics::n_rows_used)
      .def_property_readonly("n_rows_seen", &Statistics::n_rows_seen)
      .def_property_readonly("log_weights", &Statistics::log_weights)
      .def_property_readonly("shift", [](const Statistics& self) { return Vector(self.shift()); })
      .def_property_readonly("missing",
                             [](const Statistics& self) { return issues_of(self.missing); })
      .def_property_readonly("infinite",
                             [](const Statistics& self) { return issues_of(self.infinite); })
      .def_property_readonly("bad_weights",
                             [](const Statistics& self) {
                               return py::make_tuple(self.bad_weights.count,
                                                     self.bad_weights.first);
                             })
      .def(py::pickle(&saved, &restored));

  module.def(
      "fill_matrix",
      [](const std::vector<py::tuple>& specs, const std::vector<Index>& columns,
         const std::vector<py::array>& arrays, Index n_rows) {
        std::vector<Recipe> recipes;
        for (const py::tuple& spec : specs) recipes.push_back(recipe_of(spec));
        std::vector<Source> sources;
        for (const py::array& array : arrays) sources.push_back(source_of(array, n_rows));
        py::array_t<double> out({n_rows, static_cast<Index>(columns.size())});
        double* to = out.mutable_data();
        {
          const py::gil_scoped_release released;
          fill_matrix(recipes, columns, sources, n_rows, to);
        }
        return out;
      },
      py::arg("recipes"), py::arg("columns"), py::arg("sources"), py::arg("n_rows"));

  module.def("independent_columns", &independent_columns, py::arg("cross_products"),
             py::arg("tolerance"));
}

}  // namespace blocklmm::python
