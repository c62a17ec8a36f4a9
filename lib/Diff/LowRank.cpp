// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Truncated singular value decomposition: of the whole matrix where it is small, else of its
// projection on a random subspace that power iterations turn towards the leading directions (Halko, Martinsson
// and Tropp, "Finding structure with randomness", 2011). The seed is fixed: equal inputs give equal files.
#include "lib/Diff/Diff.h"
#include "lib/Diff/Linear.h"
#include <algorithm>
#include <cmath>
#include <random>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;

// The columns of m [rows, columns] made orthonormal, rows >= columns.
static Matrix orthonormalised(const Matrix &m, int64_t rows, int64_t columns) {
  Matrix basis(m.size()), result(m.size());
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      basis[j * rows + i] = m[i * columns + j];
  orthonormaliseRows(basis, columns, rows);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      result[i * columns + j] = basis[j * rows + i];
  return result;
}

Result<Factors> factorise(const Matrix &matrix, int64_t rows, int64_t columns, int64_t rank) {
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
      basis = orthonormalised(basis, rows, width);
      Matrix back =
          orthonormalised(product(matrix, true, basis, false, columns, width, rows), columns, width);
      basis = product(matrix, false, back, false, rows, width, columns);
    }
    basis = orthonormalised(basis, rows, width);
    rest = product(basis, true, matrix, false, width, columns, rows);
    restRows = width;
  }
  int64_t directions = std::min(restRows, columns);
  Decomposition parts;
  if (!decompose(rest, restRows, columns, parts))
    return Error{"the singular value decomposition did not converge"};
  const auto &[left, values, v] = parts;
  Matrix u = left;
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
