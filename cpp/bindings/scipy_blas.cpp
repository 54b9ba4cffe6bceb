#include "scipy_blas.hpp"

#include <pybind11/pybind11.h>

namespace py = pybind11;

namespace blocklmm::python {
namespace {

template <class Function>
void take(const py::dict& exported, const char* name, Function& to) {
  const py::capsule capsule = exported[name];
  to = reinterpret_cast<Function>(capsule.get_pointer<void>());
}

}  // namespace

Blas scipy_blas() {
  const py::dict blas = py::module_::import("scipy.linalg.cython_blas").attr("__pyx_capi__");
  const py::dict lapack = py::module_::import("scipy.linalg.cython_lapack").attr("__pyx_capi__");
  Blas out;
  take(blas, "dgemm", out.gemm);
  take(blas, "dsyrk", out.syrk);
  take(blas, "dtrsm", out.trsm);
  take(blas, "dtrmm", out.trmm);
  take(lapack, "dpotrf", out.potrf);
  take(lapack, "dlauum", out.lauum);
  take(lapack, "dpstrf", out.pstrf);
  take(lapack, "dtrtri", out.trtri);
  take(lapack, "dgesdd", out.gesdd);
  return out;
}

}  // namespace blocklmm::python
