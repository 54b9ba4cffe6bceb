#pragma once

namespace blocklmm {

// The BLAS and LAPACK that somebody else tuned, by pointers to their Fortran entries (the caller
// takes them from SciPy, so that nothing is linked).
struct Blas {
  using Gemm = void (*)(char*, char*, int*, int*, int*, double*, double*, int*, double*, int*,
                        double*, double*, int*);
  using Syrk = void (*)(char*, char*, int*, int*, double*, double*, int*, double*, double*, int*);
  using Triangular = void (*)(char*, char*, char*, char*, int*, int*, double*, double*, int*,
                              double*, int*);
  using InPlace = void (*)(char*, int*, double*, int*, int*);
  using Pivoted = void (*)(char*, int*, double*, int*, int*, int*, double*, double*, int*);
  using Invert = void (*)(char*, char*, int*, double*, int*, int*);
  using SingularValues = void (*)(char*, int*, int*, double*, int*, double*, double*, int*, double*,
                                  int*, double*, int*, int*, int*);

  Gemm gemm = nullptr;
  Syrk syrk = nullptr;
  Triangular trsm = nullptr, trmm = nullptr;
  InPlace potrf = nullptr, lauum = nullptr;
  Pivoted pstrf = nullptr;
  Invert trtri = nullptr;
  SingularValues gesdd = nullptr;
};

}  // namespace blocklmm
