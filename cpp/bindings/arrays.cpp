#include "arrays.hpp"

#include "errors.hpp"

namespace py = pybind11;

namespace blocklmm::python {
namespace {

Scalar scalar_of(const py::dtype& dtype) {
  const char kind = dtype.kind();
  const auto size = dtype.itemsize();
  if (kind == 'b') return Scalar::boolean;
  if (kind == 'f' && size == 8) return Scalar::f64;
  if (kind == 'f' && size == 4) return Scalar::f32;
  if (kind == 'i' && size == 8) return Scalar::i64;
  if (kind == 'i' && size == 4) return Scalar::i32;
  if (kind == 'i' && size == 2) return Scalar::i16;
  if (kind == 'i' && size == 1) return Scalar::i8;
  if (kind == 'u' && size == 8) return Scalar::u64;
  if (kind == 'u' && size == 4) return Scalar::u32;
  if (kind == 'u' && size == 2) return Scalar::u16;
  if (kind == 'u' && size == 1) return Scalar::u8;
  throw InvalidArgument("columns are arrays of native floats, integers or booleans");
}

}  // namespace

Source source_of(const py::array& array, Index n_rows) {
  require(array.ndim() == 1 && array.shape(0) == n_rows, "columns are vectors of equal length");
  require(array.dtype().byteorder() != '>', "columns are in the machine's byte order");
  return {static_cast<const std::byte*>(array.data()), array.strides(0), scalar_of(array.dtype())};
}

Recipe recipe_of(const py::tuple& spec) {
  const auto kind = spec[0].cast<std::string>();
  Recipe recipe;
  if (kind == "constant") {
    recipe.kind = Recipe::Kind::constant;
  } else if (kind == "numeric") {
    recipe.kind = Recipe::Kind::numeric;
    recipe.source = spec[1].cast<Index>();
  } else if (kind == "lookup") {
    recipe.kind = Recipe::Kind::lookup;
    recipe.source = spec[1].cast<Index>();
    recipe.table = spec[2].cast<std::vector<double>>();
  } else if (kind == "product" || kind == "difference") {
    recipe.kind = kind == "product" ? Recipe::Kind::product : Recipe::Kind::difference;
    recipe.operands = spec[1].cast<std::vector<Index>>();
  } else if (kind == "centred") {
    recipe.kind = Recipe::Kind::centred;
    recipe.operands = {spec[1].cast<Index>()};
    recipe.table = {spec[2].cast<double>()};
  } else {
    throw InvalidArgument("unknown kind of column: " + kind);
  }
  return recipe;
}

}  // namespace blocklmm::python
