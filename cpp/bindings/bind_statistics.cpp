#include "arrays.hpp"
#include "bindings.hpp"
#include "errors.hpp"
#include "rank.hpp"
#include "statistics.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

py::list issues_of(const std::vector<RowIssues>& issues) {
  py::list out;
  for (const RowIssues& issue : issues) out.append(py::make_tuple(issue.count, issue.first));
  return out;
}

const LevelRecords& factor_of(const Statistics& self, Index factor) {
  require(factor >= 0 && factor < self.n_factors(), "a factor's number");
  return self.factor(factor);
}

// Z_i'U_i of all levels of a factor as a (levels, q, columns) array, columns in the order of the
// factor's plan: for tests and reports, not for fitting.
py::array_t<double> level_products(const Statistics& self, Index factor) {
  const LevelRecords& records = factor_of(self, factor);
  const Index q = records.n_random(), u = static_cast<Index>(records.columns().size());
  py::array_t<double> out({records.n_levels(), q, u});
  auto view = out.mutable_unchecked<3>();
  for (Index i = 0; i < records.n_levels(); ++i)
    for (Index a = 0; a < q; ++a)
      for (Index b = 0; b < u; ++b) view(i, a, b) = records.record(i)[records.position(a, b)];
  return out;
}

// Z_i'u of all levels of a factor for one column u, as (levels, q).
py::array_t<double> level_column(const Statistics& self, Index factor, Index column) {
  const LevelRecords& records = factor_of(self, factor);
  const Index q = records.n_random();
  std::vector<Index> positions;
  for (Index a = 0; a < q; ++a) positions.push_back(records.position_of_column(a, column));
  py::array_t<double> out({records.n_levels(), q});
  auto view = out.mutable_unchecked<2>();
  for (Index i = 0; i < records.n_levels(); ++i)
    for (Index a = 0; a < q; ++a)
      view(i, a) = records.record(i)[positions[static_cast<std::size_t>(a)]];
  return out;
}

py::array_t<std::int64_t> level_rows(const Statistics& self, Index factor) {
  const LevelRecords& records = factor_of(self, factor);
  py::array_t<std::int64_t> out(records.n_levels());
  auto view = out.mutable_unchecked<1>();
  for (Index i = 0; i < records.n_levels(); ++i) view(i) = records.n_rows(i);
  return out;
}

// (major, minor, block size, start, level, values) of each two factors.
py::tuple as_tuple(const PairBlocks& pairs) {
  return py::make_tuple(pairs.major, pairs.minor, pairs.block_size, array_of(pairs.start),
                        array_of(pairs.level), array_of(pairs.values));
}

py::tuple saved(const Statistics& self) {
  const Statistics::State state = self.state();
  py::list factors, pairs;
  for (const auto& f : state.factors)
    factors.append(
        py::make_tuple(f.columns, f.n_random, f.n_levels, array_of(f.records), f.group_fits));
  for (const PairBlocks& two : state.pairs) pairs.append(as_tuple(two));
  return py::make_tuple(state.n_columns, state.n_rows_used, state.n_rows_seen, state.log_weights,
                        state.shift, state.sums, state.cross, state.plain, factors, pairs);
}

Statistics restored(const py::tuple& saved) {
  require(saved.size() == 10, "a saved state of another version");
  Statistics::State state{saved[0].cast<Index>(),
                          saved[1].cast<Index>(),
                          saved[2].cast<Index>(),
                          saved[3].cast<double>(),
                          saved[4].cast<Vector>(),
                          saved[5].cast<Vector>(),
                          saved[6].cast<Vector>(),
                          saved[7].cast<Vector>(),
                          {},
                          {}};
  for (const py::handle& item : saved[8]) {
    const auto f = item.cast<py::tuple>();
    state.factors.push_back({f[0].cast<std::vector<Index>>(), f[1].cast<Index>(),
                             f[2].cast<Index>(), vector_of<double>(f[3]), f[4].cast<Matrix>()});
  }
  for (const py::handle& item : saved[9]) {
    const auto two = item.cast<py::tuple>();
    state.pairs.push_back({two[0].cast<Index>(), two[1].cast<Index>(), two[2].cast<Index>(),
                           vector_of<Index>(two[3]), vector_of<std::int32_t>(two[4]),
                           vector_of<double>(two[5])});
  }
  return Statistics(std::move(state));
}

}  // namespace

void bind_statistics(py::module_& module) {
  py::class_<Statistics>(module, "Statistics")
      .def(py::init([](const std::vector<py::tuple>& recipes, std::vector<Index> columns,
                       std::vector<bool> shifted,
                       const std::vector<std::tuple<std::vector<Index>, Index, Index>>& factors,
                       Index n_sources, Index weight, bool pairs) {
             StatisticsPlan plan;
             for (const py::tuple& spec : recipes) plan.recipes.push_back(recipe_of(spec));
             plan.columns = std::move(columns);
             plan.shifted.assign(shifted.begin(), shifted.end());
             for (const auto& [own, n_random, n_slots] : factors)
               plan.factors.push_back({own, n_random, n_slots});
             plan.n_sources = n_sources;
             plan.weight = weight;
             plan.pairs = pairs;
             return Statistics(std::move(plan));
           }),
           py::kw_only(), py::arg("recipes"), py::arg("columns"), py::arg("shifted"),
           py::arg("factors"), py::arg("n_sources"), py::arg("weight"), py::arg("pairs") = true)
      .def("adopt", &Statistics::adopt, py::arg("shift"), py::arg("response_fit"),
           py::arg("group_fits"))
      .def(
          "update",
          [](Statistics& self, const std::vector<py::array>& arrays,
             const std::vector<py::array>& labels, const std::vector<std::int64_t>& bases,
             Index n_rows, int n_threads) {
            std::vector<Source> sources, groups;
            for (const py::array& array : arrays) sources.push_back(source_of(array, n_rows));
            for (const py::array& array : labels) groups.push_back(source_of(array, n_rows));
            const py::gil_scoped_release released;
            self.update(sources, groups, bases, n_rows, n_threads);
          },
          py::arg("sources"), py::arg("labels"), py::arg("bases"), py::arg("n_rows"),
          py::arg("n_threads"))
      .def(
          "restricted",
          [](const Statistics& self,
             const std::vector<std::tuple<Index, std::vector<Index>, std::vector<Index>>>& chosen) {
            std::vector<Statistics::Selection> selections;
            for (const auto& [f, own, others] : chosen) selections.push_back({f, own, others});
            const py::gil_scoped_release released;
            return self.restricted(selections);
          },
          py::arg("selections"))
      .def("removed", &Statistics::removed, py::arg("level"), py::arg("ones"),
           py::call_guard<py::gil_scoped_release>())
      .def(
          "of_levels",
          [](const Statistics& self, const py::array& levels) {
            const std::vector<Index> numbers = vector_of<Index>(levels);
            const py::gil_scoped_release released;
            return self.of_levels(numbers);
          },
          py::arg("levels"))
      .def("pooled", &Statistics::pooled, py::call_guard<py::gil_scoped_release>())
      .def_property_readonly("n_bytes", &Statistics::n_bytes)
      .def("grow", &Statistics::grow, py::arg("factor"), py::arg("n_slots"))
      .def("in_columns", &Statistics::in_columns, py::arg("columns"), py::arg("by_factor"),
           py::arg("shift"), py::call_guard<py::gil_scoped_release>())
      .def(
          "merge",
          [](Statistics& self, const Statistics& other, const std::vector<py::array>& levels) {
            std::vector<std::vector<Index>> numbers;
            for (const py::array& of_factor : levels)
              numbers.push_back(vector_of<Index>(of_factor));
            const py::gil_scoped_release released;
            self.merge(other, numbers);
          },
          py::arg("other"), py::arg("levels"))
      .def("finish",
           [](Statistics& self) {
             std::vector<std::vector<Index>> kept;
             {
               const py::gil_scoped_release released;
               kept = self.finish();
             }
             py::list out;
             for (const std::vector<Index>& slots : kept) out.append(array_of(slots));
             return out;
           })
      .def("without", &Statistics::without, py::arg("level"), py::arg("n_random"),
           py::call_guard<py::gil_scoped_release>())
      .def("cross_products", &Statistics::cross_products)
      .def("plain_cross_products", &Statistics::plain_cross_products)
      .def_property_readonly("sums", [](const Statistics& self) { return Vector(self.sums()); })
      .def("level_products", &level_products, py::arg("factor"))
      .def("level_column", &level_column, py::arg("factor"), py::arg("column"))
      .def("level_rows", &level_rows, py::arg("factor"))
      .def("pairs",
           [](const Statistics& self) {
             py::list out;
             for (const PairBlocks& two : self.pairs()) out.append(as_tuple(two));
             return out;
           })
      .def("pair_counts",
           [](const Statistics& self) {
             py::list out;
             for (const PairBlocks& two : self.pairs())
               out.append(py::make_tuple(two.major, two.minor, two.n_pairs()));
             return out;
           })
      .def("with_effects", &Statistics::with_effects, py::arg("effects"),
           py::call_guard<py::gil_scoped_release>())
      .def("replace_response", &Statistics::replace_response, py::arg("response"))
      .def("__copy__", [](const Statistics& self) { return Statistics(self); })
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
      .def("state", &saved)
      .def_static("restored", &restored, py::arg("state"))
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
