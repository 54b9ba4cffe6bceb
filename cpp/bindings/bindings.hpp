#pragma once

#include <pybind11/eigen.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

namespace blocklmm::python {

void bind_statistics(pybind11::module_& module);
void bind_objective(pybind11::module_& module);
void bind_sparse_objective(pybind11::module_& module);
void bind_spread_objective(pybind11::module_& module);
void bind_bootstrap(pybind11::module_& module);
void bind_response_draws(pybind11::module_& module);
void bind_responses(pybind11::module_& module);
void bind_optimizer(pybind11::module_& module);
void bind_labels(pybind11::module_& module);
void bind_clusters(pybind11::module_& module);

}  // namespace blocklmm::python
