#include "modes_arrays.hpp"

#include "errors.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

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

py::array_t<double> column_major(Index n, Index rows, Index columns) {
  const Index size = sizeof(double);
  return py::array_t<double>({n, rows, columns}, {rows * columns * size, size, rows * size});
}

ModesResult modes_arrays(const std::vector<std::string>& wanted, Index n, Index q, Index p,
                         py::dict& out) {
  ModesResult to;
  for (const std::string& name : wanted) {
    double* ModesResult::* slot = field_of(name);
    const Index columns = name == "cross" ? p : q;
    py::array_t<double> array =
        is_vector(name) ? py::array_t<double>({n, q}) : column_major(n, q, columns);
    to.*slot = array.mutable_data();
    out[name.c_str()] = std::move(array);
  }
  return to;
}

py::dict group_modes(const Statistics& statistics, const Standardization& units,
                     const ModesRequest& request, const GroupNumbers& groups,
                     const std::vector<std::string>& wanted) {
  py::dict out;
  const ModesResult to = modes_arrays(wanted, groups.size(), units.q, units.p, out);
  const Index *numbers = groups.data(), n = groups.size();
  const py::gil_scoped_release released;
  conditional_modes(statistics, units, request, numbers, n, to);
  return out;
}

}  // namespace blocklmm::python
