#pragma once

#include "bindings.hpp"
#include "columns.hpp"

// Arrays that cross the border: columns as views, vectors as copies.

namespace blocklmm::python {

// A column of n_rows numbers, in place.
Source source_of(const pybind11::array& array, Index n_rows);

// A recipe as Python spells it: ("numeric", source), ("product", [recipes]), …
Recipe recipe_of(const pybind11::tuple& spec);

template <class T>
pybind11::array_t<T> array_of(const std::vector<T>& values) {
  return pybind11::array_t<T>(static_cast<Index>(values.size()), values.data());
}

template <class T>
std::vector<T> vector_of(const pybind11::handle& object) {
  const auto array = object.cast<pybind11::array_t<T, pybind11::array::c_style>>();
  return {array.data(), array.data() + array.size()};
}

}  // namespace blocklmm::python
