#include <optional>

#include "arrays.hpp"
#include "bindings.hpp"
#include "errors.hpp"
#include "label_table.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

using Slots = py::array_t<std::int32_t>;
using Mask = std::optional<py::array_t<bool, py::array::c_style>>;

const std::uint8_t* mask_of(const Mask& missing, Index n) {
  if (!missing) return nullptr;
  require(missing->size() == n, "a mask as long as the labels");
  return reinterpret_cast<const std::uint8_t*>(missing->data());
}

template <class Offset>
Slots code_texts(TextLabels& self, const py::array_t<std::uint8_t, py::array::c_style>& data,
                 const py::array_t<Offset, py::array::c_style>& offsets, const Mask& missing) {
  const Index n = offsets.size() - 1;
  require(n >= 0, "offsets of texts");
  const Offset* places = offsets.data();
  for (Index r = 0; r < n; ++r) require(places[r] <= places[r + 1], "offsets in order");
  require(places[0] >= 0 && places[n] <= data.size(), "offsets within the data");
  Slots out(n);
  std::int32_t* slots = out.mutable_data();
  const std::uint8_t* mask = mask_of(missing, n);
  const py::gil_scoped_release released;
  self.code(reinterpret_cast<const char*>(data.data()), places, mask, n, slots);
  return out;
}

// Python's own strings; what is none is missing.
Slots code_objects(TextLabels& self, const py::sequence& texts) {
  const auto n = static_cast<Index>(texts.size());
  Slots out(n);
  std::int32_t* slots = out.mutable_data();
  for (Index r = 0; r < n; ++r) {
    const py::object text = texts[static_cast<std::size_t>(r)];
    Py_ssize_t size = 0;
    const char* bytes =
        PyUnicode_Check(text.ptr()) ? PyUnicode_AsUTF8AndSize(text.ptr(), &size) : nullptr;
    if (!bytes) PyErr_Clear();
    slots[r] = bytes ? self.code({bytes, static_cast<std::size_t>(size)}) : -1;
  }
  return out;
}

// The bytes of all labels, and where each ends.
py::tuple state_of(const TextLabels& self) {
  return py::make_tuple(py::bytes(self.bytes()), array_of(self.ends()));
}

TextLabels restored_labels(const py::tuple& state) {
  const auto bytes = state[0].cast<std::string_view>();
  TextLabels out;
  std::size_t begin = 0;
  for (const std::int64_t end : vector_of<std::int64_t>(state[1])) {
    require(
        end >= static_cast<std::int64_t>(begin) && end <= static_cast<std::int64_t>(bytes.size()),
        "texts one after the other");
    out.code(bytes.substr(begin, static_cast<std::size_t>(end) - begin));
    begin = static_cast<std::size_t>(end);
  }
  return out;
}

}  // namespace

void bind_labels(py::module_& module) {
  py::class_<IntegerLabels>(module, "IntegerLabels")
      .def(py::init<>())
      .def(
          "code",
          [](IntegerLabels& self, const py::array& labels, const Mask& missing) {
            const Index n = labels.size();
            const Source source = source_of(labels, n);
            require(source.type != Scalar::f64 && source.type != Scalar::f32, "integers");
            Slots out(n);
            std::int32_t* slots = out.mutable_data();
            const std::uint8_t* mask = mask_of(missing, n);
            const py::gil_scoped_release released;
            self.code(source, mask, n, slots);
            return out;
          },
          py::arg("labels"), py::arg("missing") = py::none())
      .def("__len__", [](const IntegerLabels& self) { return self.labels().size(); })
      .def_property_readonly("labels",
                             [](const IntegerLabels& self) { return array_of(self.labels()); });

  py::class_<TextLabels>(module, "TextLabels")
      .def(py::init<>())
      .def("code", &code_texts<std::int32_t>, py::arg("data"), py::arg("offsets").noconvert(),
           py::arg("missing") = py::none())
      .def("code", &code_texts<std::int64_t>, py::arg("data"), py::arg("offsets").noconvert(),
           py::arg("missing") = py::none())
      .def("code_objects", &code_objects, py::arg("texts"))
      .def("__len__", &TextLabels::size)
      .def(
          "texts",
          [](const TextLabels& self, const py::array_t<Index>& numbers) {
            py::list out(numbers.size());
            for (Index k = 0; k < numbers.size(); ++k) {
              const Index number = numbers.at(k);
              require(number >= 0 && number < self.size(), "a label's number");
              const std::string_view text = self.label(number);
              out[static_cast<std::size_t>(k)] = py::str(text.data(), text.size());
            }
            return out;
          },
          py::arg("numbers"))
      .def("state", &state_of)
      .def_static("restored", &restored_labels, py::arg("state"))
      .def(py::pickle(&state_of, &restored_labels));
}

}  // namespace blocklmm::python
