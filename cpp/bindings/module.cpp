#include "bindings.hpp"
#include "errors.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The numerical core of blocklmm.";
  pybind11::register_exception<blocklmm::NotPositiveDefinite>(module, "NotPositiveDefinite",
                                                              PyExc_ArithmeticError);
  blocklmm::python::bind_statistics(module);
  blocklmm::python::bind_objective(module);
}
