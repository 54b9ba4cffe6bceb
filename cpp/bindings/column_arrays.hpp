#pragma once

#include "bindings.hpp"
#include "columns.hpp"

namespace blocklmm::python {

// A vector of n_rows numbers as the core reads it in place.
Source source_of(const pybind11::array& array, Index n_rows);
// A recipe as Python spells it: ("numeric", source), ("product", [recipes]), ...
Recipe recipe_of(const pybind11::tuple& spec);

}  // namespace blocklmm::python
