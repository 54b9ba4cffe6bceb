#include "refit_arrays.hpp"

#include <algorithm>
#include <cmath>

namespace py = pybind11;

namespace blocklmm::python {

py::array_t<double> stacked(const std::vector<const Matrix*>& matrices, Index rows, Index columns) {
  py::array_t<double> out({static_cast<Index>(matrices.size()), rows, columns});
  double* to = out.mutable_data();
  for (const Matrix* M : matrices)
    for (Index i = 0; i < rows; ++i)
      for (Index j = 0; j < columns; ++j) *to++ = M ? (*M)(i, j) : std::nan("");
  return out;
}

py::dict refit_arrays(const std::vector<const Refit*>& fits, Index q, Index p) {
  const auto n = static_cast<Index>(fits.size());
  py::array_t<double> value(n), sigma(n), beta({n, p});
  py::array_t<bool> converged(n);
  py::array_t<std::int8_t> status(n);
  std::vector<const Matrix*> factors, inverses;
  for (Index k = 0; k < n; ++k) {
    const Refit& fit = *fits[static_cast<std::size_t>(k)];
    const bool is_there = fit.status != Status::exact_fit;
    value.mutable_at(k) = is_there ? fit.value : std::nan("");
    sigma.mutable_at(k) = is_there ? fit.sigma : std::nan("");
    converged.mutable_at(k) = fit.converged();
    status.mutable_at(k) = static_cast<std::int8_t>(fit.status);
    for (Index i = 0; i < p; ++i) beta.mutable_at(k, i) = is_there ? fit.beta[i] : std::nan("");
    factors.push_back(is_there ? &fit.factor : nullptr);
    inverses.push_back(is_there ? &fit.inverse_factor : nullptr);
  }
  py::dict out;
  out["value"] = value;
  out["sigma"] = sigma;
  out["status"] = status;
  out["converged"] = converged;
  out["factor"] = stacked(factors, q, q);
  out["beta"] = beta;
  out["inverse_factor"] = stacked(inverses, p, p);
  return out;
}

}  // namespace blocklmm::python
