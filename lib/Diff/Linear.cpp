// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Linear.h. The sums that take the time are of rows, so that compilers make vectors of them; which instructions
// there are is found out at run time.
#include "lib/Diff/Linear.h"
#include <algorithm>
#include <atomic>
#include <cmath>
#include <numeric>
#include <system_error>
#include <thread>

#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) &&                \
    !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
#define ADAPTER_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define ADAPTER_CLONES // a sanitizer is not there yet when clones are chosen
#endif

namespace adapter::diff {

namespace {

constexpr int64_t blockRows = 4, blockDepth = 256, blockColumns = 512;

// c[0..rows) += a * b on a block: rows of c stay in cache, a row of b is read once for `rows` of them.
ADAPTER_CLONES void addBlock(const double *a, int64_t strideA, const double *b, int64_t strideB, double *c,
                             int64_t strideC, int64_t rows, int64_t columns, int64_t depth) {
#pragma clang fp contract(fast)
  if (rows == blockRows) {
    for (int64_t k = 0; k < depth; ++k) {
      const double *row = b + k * strideB;
      double a0 = a[k], a1 = a[strideA + k], a2 = a[2 * strideA + k], a3 = a[3 * strideA + k];
      for (int64_t j = 0; j < columns; ++j) {
        c[j] += a0 * row[j];
        c[strideC + j] += a1 * row[j];
        c[2 * strideC + j] += a2 * row[j];
        c[3 * strideC + j] += a3 * row[j];
      }
    }
    return;
  }
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t k = 0; k < depth; ++k)
      for (int64_t j = 0; j < columns; ++j)
        c[i * strideC + j] += a[i * strideA + k] * b[k * strideB + j];
}

ADAPTER_CLONES double dot(const double *x, const double *y, int64_t size) {
#pragma clang fp reassociate(on) contract(fast)
  double sum = 0;
  for (int64_t i = 0; i < size; ++i)
    sum += x[i] * y[i];
  return sum;
}

ADAPTER_CLONES void rotate(double *x, double *y, int64_t size, double c, double s) {
  for (int64_t i = 0; i < size; ++i) {
    double old = x[i];
    x[i] = c * old - s * y[i];
    y[i] = s * old + c * y[i];
  }
}

ADAPTER_CLONES void subtract(double *x, double factor, const double *y, int64_t size) {
  for (int64_t i = 0; i < size; ++i)
    x[i] -= factor * y[i];
}

Matrix transposed(const Matrix &m, int64_t rows, int64_t columns) {
  constexpr int64_t tile = 16;
  Matrix result(m.size());
  for (int64_t i = 0; i < rows; i += tile)
    for (int64_t j = 0; j < columns; j += tile)
      for (int64_t y = i; y < std::min(rows, i + tile); ++y)
        for (int64_t x = j; x < std::min(columns, j + tile); ++x)
          result[x * rows + y] = m[y * columns + x];
  return result;
}

// Calls body(i) for all i below count, on all processors. Which thread has which i does not change what comes out.
template <typename Body>
void inParallel(int64_t count, Body body) {
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t i = next++; i < count; i = next++)
      body(i);
  };
  std::vector<std::thread> others;
  int64_t wanted = std::min<int64_t>(count, std::max(1u, std::thread::hardware_concurrency()));
  try {
    while (static_cast<int64_t>(others.size()) + 1 < wanted)
      others.emplace_back(work);
  } catch (const std::system_error &) {
    // The system has no more threads to give.
  }
  work();
  for (std::thread &other : others)
    other.join();
}

} // namespace

Matrix product(const Matrix &a, bool transposeA, const Matrix &b, bool transposeB, int64_t m, int64_t n,
               int64_t k) {
  Matrix ownA, ownB, c(m * n);
  if (transposeA)
    ownA = transposed(a, k, m);
  if (transposeB)
    ownB = transposed(b, n, k);
  const double *left = transposeA ? ownA.data() : a.data(), *right = transposeB ? ownB.data() : b.data();
  inParallel((m + blockRows - 1) / blockRows, [&](int64_t block) {
    int64_t i = block * blockRows, rows = std::min(blockRows, m - i);
    for (int64_t j = 0; j < n; j += blockColumns)
      for (int64_t d = 0; d < k; d += blockDepth)
        addBlock(left + i * k + d, k, right + d * n + j, n, c.data() + i * n + j, n, rows,
                 std::min(blockColumns, n - j), std::min(blockDepth, k - d));
  });
  return c;
}

Matrix orthonormaliseRows(Matrix &m, int64_t rows, int64_t columns) {
  Matrix triangle(rows * rows);
  for (int64_t i = 0; i < rows; ++i) {
    double *row = m.data() + i * columns, before = std::sqrt(dot(row, row, columns));
    for (int turn = 0; turn < 2; ++turn)
      for (int64_t j = 0; j < i; ++j) {
        double part = dot(row, m.data() + j * columns, columns);
        subtract(row, part, m.data() + j * columns, columns);
        triangle[i * rows + j] += part;
      }
    double norm = std::sqrt(dot(row, row, columns));
    // What is left of a dependent row is rounding.
    bool isZero = !(norm > 1e-14 * before);
    triangle[i * rows + i] = isZero ? 0 : norm;
    for (int64_t j = 0; j < columns; ++j)
      row[j] = isZero ? 0 : row[j] / norm;
  }
  return triangle;
}

// Rotates pairs of rows of `work` until all are orthogonal; `turned` [rows, rows], whose rows turn alike, begins as the
// identity and ends as the rotations: work = turned * what it was.
static bool rotateRows(Matrix &work, Matrix &turned, int64_t rows, int64_t columns) {
  const double small = 1e-15 * std::sqrt(static_cast<double>(columns)); // rounding of a sum of so many
  constexpr int sweeps = 60;
  for (int sweep = 0; sweep < sweeps; ++sweep) {
    bool rotated = false;
    for (int64_t p = 0; p + 1 < rows; ++p)
      for (int64_t q = p + 1; q < rows; ++q) {
        double *x = work.data() + p * columns, *y = work.data() + q * columns;
        double xx = dot(x, x, columns), yy = dot(y, y, columns), xy = dot(x, y, columns);
        if (!(std::abs(xy) > small * std::sqrt(xx) * std::sqrt(yy)))
          continue;
        rotated = true;
        double zeta = (yy - xx) / (2 * xy);
        double t = (zeta >= 0 ? 1 : -1) / (std::abs(zeta) + std::sqrt(1 + zeta * zeta));
        double c = 1 / std::sqrt(1 + t * t);
        rotate(x, y, columns, c, c * t);
        rotate(turned.data() + p * rows, turned.data() + q * rows, rows, c, c * t);
      }
    if (!rotated)
      return true;
  }
  return false;
}

bool decompose(const Matrix &m, int64_t rows, int64_t columns, Decomposition &result) {
  if (rows > columns) {
    Decomposition other;
    if (!decompose(transposed(m, rows, columns), columns, rows, other))
      return false;
    result = {transposed(other.v, columns, rows), other.values, transposed(other.u, columns, columns)};
    return true;
  }
  // m = t * basis; t, which is small, is turned: q * t has orthogonal rows.
  Matrix basis = m, work = orthonormaliseRows(basis, rows, columns), turned(rows * rows);
  for (int64_t i = 0; i < rows; ++i)
    turned[i * rows + i] = 1;
  if (!rotateRows(work, turned, rows, rows))
    return false;
  std::vector<double> norms(rows);
  std::vector<int64_t> order(rows);
  for (int64_t i = 0; i < rows; ++i)
    norms[i] = std::sqrt(dot(work.data() + i * rows, work.data() + i * rows, rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return norms[a] > norms[b]; });
  result = {Matrix(rows * rows), std::vector<double>(rows), {}};
  Matrix right(rows * rows);
  for (int64_t place = 0; place < rows; ++place) {
    int64_t from = order[place];
    result.values[place] = norms[from];
    for (int64_t j = 0; j < rows; ++j) {
      result.u[j * rows + place] = turned[from * rows + j];
      right[place * rows + j] = norms[from] > 0 ? work[from * rows + j] / norms[from] : 0;
    }
  }
  result.v = product(right, false, basis, false, rows, columns, rows);
  return true;
}

} // namespace adapter::diff
