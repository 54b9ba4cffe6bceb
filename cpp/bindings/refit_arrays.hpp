#pragma once

#include "bindings.hpp"
#include "refitted_model.hpp"

namespace blocklmm::python {

// Matrices of one shape as an array of them, `leading` in front of the shape; rows x columns is for
// none.
pybind11::array_t<double> stacked(const std::vector<const Matrix*>& matrices, Index rows,
                                  Index columns);

// Fits as arrays, the fit first: value, sigma, status, converged, factor (q x q), beta (p),
// inverse_factor (p x p). NaN where there is none.
pybind11::dict refit_arrays(const std::vector<const Refit*>& fits, Index q, Index p);

}  // namespace blocklmm::python
