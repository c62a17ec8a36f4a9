// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Truncated singular value decomposition by LAPACK: of the whole matrix where it is small, else of its
// projection on a random subspace that power iterations turn towards the leading directions (Halko, Martinsson
// and Tropp, "Finding structure with randomness", 2011). The seed is fixed: equal inputs give equal files.
#include "lib/Diff/Diff.h"
#include <algorithm>
#include <cblas.h>
#include <cmath>
#include <lapacke.h>
#include <random>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;
using Matrix = std::vector<double>; // row-major

// c [m, n] = op(a) op(b), k the common size.
static Matrix product(const Matrix &a, bool ta, const Matrix &b, bool tb, int64_t m, int64_t n, int64_t k) {
  Matrix c(m * n);
  cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, m, n, k, 1.0,
              a.data(), ta ? m : k, b.data(), tb ? k : n, 0.0, c.data(), n);
  return c;
}

// The columns of m [rows, columns] made orthonormal, rows >= columns.
static bool orthonormalise(Matrix &m, int64_t rows, int64_t columns) {
  std::vector<double> tau(columns);
  return LAPACKE_dgeqrf(LAPACK_ROW_MAJOR, rows, columns, m.data(), columns, tau.data()) == 0 &&
         LAPACKE_dorgqr(LAPACK_ROW_MAJOR, rows, columns, columns, m.data(), columns, tau.data()) == 0;
}

Result<Factors> factorise(const Matrix &matrix, int64_t rows, int64_t columns, int64_t rank) {
  const Error failed{"the singular value decomposition did not converge"};
  int64_t small = std::min(rows, columns);
  rank = std::min(rank, small);
  int64_t width = std::min(small, rank + 16); // oversampling
  // matrix = basis * rest; the identity is no basis worth storing.
  bool whole = width == small || small <= 256;
  Matrix basis, rest = matrix;
  int64_t restRows = rows;
  if (!whole) {
    std::mt19937_64 random(20240501);
    std::normal_distribution<double> normal;
    Matrix probe(columns * width);
    for (double &value : probe)
      value = normal(random);
    basis = product(matrix, false, probe, false, rows, width, columns);
    for (int i = 0; i < 4; ++i) {
      if (!orthonormalise(basis, rows, width))
        return failed;
      Matrix back = product(matrix, true, basis, false, columns, width, rows);
      if (!orthonormalise(back, columns, width))
        return failed;
      basis = product(matrix, false, back, false, rows, width, columns);
    }
    if (!orthonormalise(basis, rows, width))
      return failed;
    rest = product(basis, true, matrix, false, width, columns, rows);
    restRows = width;
  }
  int64_t directions = std::min(restRows, columns);
  std::vector<double> values(directions);
  Matrix u(restRows * directions), v(directions * columns);
  if (LAPACKE_dgesdd(LAPACK_ROW_MAJOR, 'S', restRows, columns, rest.data(), columns, values.data(), u.data(),
                     directions, v.data(), columns) != 0)
    return failed;
  // Directions that are rounding alone are left out.
  while (rank > 1 && !(values[rank - 1] > 1e-7 * values[0]))
    --rank;
  Factors factors{rank, Matrix(rank * columns), Matrix(rows * rank)};
  if (!whole)
    u = product(basis, false, u, false, rows, directions, width);
  for (int64_t r = 0; r < rank; ++r) {
    double half = std::sqrt(values[r]);
    for (int64_t j = 0; j < columns; ++j)
      factors.a[r * columns + j] = half * v[r * columns + j];
    for (int64_t i = 0; i < rows; ++i)
      factors.b[i * rank + r] = half * u[i * directions + r];
  }
  return factors;
}

} // namespace adapter::diff
