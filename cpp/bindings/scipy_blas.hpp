#pragma once

#include "blas.hpp"

namespace blocklmm::python {

// The BLAS and LAPACK that SciPy ships, through the function pointers that it exports to Cython.
Blas scipy_blas();

}  // namespace blocklmm::python
