// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What `adapter-opt diff` needs of linear algebra, in f64 on row-major matrices.
#ifndef ADAPTER_LIB_DIFF_LINEAR_H
#define ADAPTER_LIB_DIFF_LINEAR_H

#include <cstdint>
#include <vector>

namespace adapter::diff {

using Matrix = std::vector<double>;

/// c [m, n] = op(a) op(b), k the common size; on all processors.
Matrix product(const Matrix &a, bool transposeA, const Matrix &b, bool transposeB, int64_t m, int64_t n,
               int64_t k);

/// The rows of m [rows, columns] made orthonormal, rows <= columns, by Gram-Schmidt done twice. What depends on the
/// rows before it becomes a row of zeros. Returns the triangle t [rows, rows] with m = t * result.
Matrix orthonormaliseRows(Matrix &m, int64_t rows, int64_t columns);

struct Decomposition {
  Matrix u;                   ///< [rows, directions]
  std::vector<double> values; ///< descending
  Matrix v;                   ///< [directions, columns]
};

/// m [rows, columns] = u * diag(values) * v, directions = min(rows, columns), by Jacobi rotations of one side, which
/// find small values as precisely as large ones. False where they do not converge.
bool decompose(const Matrix &m, int64_t rows, int64_t columns, Decomposition &result);

} // namespace adapter::diff

#endif // ADAPTER_LIB_DIFF_LINEAR_H
