#include "bindings.hpp"
#include "elimination.hpp"
#include "errors.hpp"

PYBIND11_MODULE(_core, module) {
  module.doc() = "The numerical core of blocklmm.";
  pybind11::register_exception<blocklmm::NotPositiveDefinite>(module, "NotPositiveDefinite",
                                                              PyExc_ArithmeticError);
  // TooLarge(bytes)
  static const pybind11::exception<blocklmm::TooLarge> too_large(module, "TooLarge",
                                                                 PyExc_MemoryError);
  pybind11::register_exception_translator([](std::exception_ptr thrown) {
    try {
      if (thrown) std::rethrow_exception(thrown);
    } catch (const blocklmm::TooLarge& error) {
      PyErr_SetObject(too_large.ptr(), pybind11::float_(error.bytes).ptr());
    }
  });
  blocklmm::python::bind_labels(module);
  blocklmm::python::bind_statistics(module);
  blocklmm::python::bind_objective(module);
  blocklmm::python::bind_sparse_objective(module);
  blocklmm::python::bind_spread_objective(module);
  blocklmm::python::bind_response_draws(module);
  blocklmm::python::bind_responses(module);
  blocklmm::python::bind_bootstrap(module);
  blocklmm::python::bind_optimizer(module);
  blocklmm::python::bind_clusters(module);
}
