#pragma once

#include <string>
#include <vector>

#include "bindings.hpp"
#include "modes.hpp"

namespace blocklmm::python {

// New arrays for the wanted results of n levels, put into a dict by name, and where to write them.
ModesResult modes_arrays(const std::vector<std::string>& wanted, Index n, Index q, Index p,
                         pybind11::dict& out);

using GroupNumbers =
    pybind11::array_t<Index, pybind11::array::c_style | pybind11::array::forcecast>;

// What is wanted of the modes of some groups of one factor (core/modes.hpp), by name.
pybind11::dict group_modes(const Statistics& statistics, const Standardization& units,
                           const ModesRequest& request, const GroupNumbers& groups,
                           const std::vector<std::string>& wanted);

// n matrices by columns.
pybind11::array_t<double> column_major(Index n, Index rows, Index columns);

}  // namespace blocklmm::python
