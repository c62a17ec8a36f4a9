// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Truncated singular value decomposition: of the whole matrix where it is small, else of its
// projection on a random subspace that power iterations turn towards the leading directions (Halko, Martinsson
// and Tropp, "Finding structure with randomness", 2011). The seed is fixed: equal inputs give equal files.
#include "lib/Diff/Diff.h"
#include <Eigen/QR>
#include <Eigen/SVD>
#include <algorithm>
#include <atomic>
#include <future>
#include <random>
#include <thread>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;
using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Calls body(begin, size) for pieces of `count`, on all processors: what Eigen would do with OpenMP, which is a shared
// library more. Pieces do not depend on the processors, so neither does what comes out.
template <typename Body>
static void inParallel(int64_t count, Body body) {
  constexpr int64_t piece = 256;
  std::atomic<int64_t> next{0};
  auto work = [&] {
    for (int64_t i = next.fetch_add(piece); i < count; i = next.fetch_add(piece))
      body(i, std::min(piece, count - i));
  };
  int64_t pieces = (count + piece - 1) / piece, processors = std::thread::hardware_concurrency();
  std::vector<std::future<void>> others;
  for (int64_t i = 1; i < std::min(pieces, processors); ++i)
    others.push_back(std::async(work)); // where the system has no thread to give, it waits for get()
  work();
  for (std::future<void> &other : others)
    other.get();
}

template <typename Left>
static Matrix product(const Left &a, const Matrix &b) {
  Matrix c(a.rows(), b.cols());
  inParallel(a.rows(), [&](int64_t begin, int64_t size) {
    c.middleRows(begin, size).noalias() = a.middleRows(begin, size) * b;
  });
  return c;
}

// An orthonormal basis of what the columns of m span, rows >= columns.
static Matrix orthonormalised(const Matrix &m) {
  return Eigen::HouseholderQR<Matrix>(m).householderQ() * Matrix::Identity(m.rows(), m.cols());
}

// An orthonormal basis [rows, width] that all but holds the leading directions of the matrix.
template <typename Map>
static Matrix leadingRange(const Map &matrix, int64_t width) {
  std::mt19937_64 random(20240501);
  std::normal_distribution<double> normal;
  RowMajor probe(matrix.cols(), width);
  std::generate_n(probe.data(), probe.size(), [&] { return normal(random); });
  Matrix basis = product(matrix, probe);
  for (int i = 0; i < 4; ++i)
    basis = product(matrix, orthonormalised(product(matrix.transpose(), orthonormalised(basis))));
  return orthonormalised(basis);
}

static constexpr int64_t oversampling = 16;

// Factors of left * rest * right', each basis left out where it is the identity, by the leading directions of rest.
static Result<Factors> leadingFactors(const Matrix &rest, const Matrix *left, const Matrix *right,
                                      int64_t rank) {
  Eigen::BDCSVD<Matrix> parts(rest, Eigen::ComputeThinU | Eigen::ComputeThinV);
  if (parts.info() != Eigen::Success)
    return Error{"the singular value decomposition did not converge"};
  const auto &found = parts.singularValues();
  rank = std::min<int64_t>(rank, found.size());
  // Directions that are rounding alone are left out.
  while (rank > 1 && !(found[rank - 1] > 1e-7 * found[0]))
    --rank;
  auto halves = found.head(rank).cwiseSqrt().asDiagonal();
  Matrix u = parts.matrixU().leftCols(rank) * halves, v = parts.matrixV().leftCols(rank) * halves;
  if (left)
    u = *left * u;
  if (right)
    v = *right * v;
  Factors factors{rank, std::vector<double>(rank * v.rows()), std::vector<double>(u.rows() * rank),
                  found.tail(found.size() - rank).squaredNorm(), found.squaredNorm()};
  Eigen::Map<RowMajor>(factors.a.data(), rank, v.rows()) = v.transpose();
  Eigen::Map<RowMajor>(factors.b.data(), u.rows(), rank) = u;
  return factors;
}

using ConstMap = Eigen::Map<const RowMajor>;

// The same of a matrix whose other directions matter little, by a subspace that is hardly larger than the rank.
static Result<Factors> sketchedFactors(const ConstMap &matrix, int64_t rank) {
  int64_t width = rank + oversampling;
  Matrix basis = leadingRange(matrix, width), rest = product(matrix.transpose(), basis).transpose();
  Result<Factors> factors = leadingFactors(rest, &basis, nullptr, rank);
  if (!factors)
    return factors;
  // What the basis does not hold is lost as well.
  ConstMap a(factors->a.data(), factors->rank, matrix.cols()),
      b(factors->b.data(), matrix.rows(), factors->rank);
  factors->squares = matrix.squaredNorm();
  factors->lost = (matrix - b * a).squaredNorm();
  return factors;
}

Result<Factors> factorise(const double *values, int64_t rows, int64_t columns, int64_t rank) {
  ConstMap matrix(values, rows, columns);
  int64_t small = std::min(rows, columns);
  rank = std::min(rank, small);
  if (small <= 256)
    return leadingFactors(matrix, nullptr, nullptr, rank);
  if (rank + oversampling < small)
    return sketchedFactors(matrix, rank);
  // All directions are wanted: often they are few.
  for (int64_t few = 64; 4 * few <= small; few *= 4) {
    Result<Factors> factors = sketchedFactors(matrix, few);
    if (!factors || factors->lost <= 1e-14 * factors->squares)
      return factors;
  }
  return leadingFactors(matrix, nullptr, nullptr, rank);
}

Result<Factors> factoriseProduct(const double *left, const double *right, int64_t rows, int64_t inner,
                                 int64_t columns, int64_t rank) {
  Eigen::Map<const RowMajor> b(left, rows, inner), a(right, inner, columns);
  if (inner >= std::min(rows, columns)) {
    RowMajor whole = b * a;
    return factorise(whole.data(), rows, columns, rank);
  }
  // Q R of either side: what is between the bases is small.
  Eigen::HouseholderQR<Matrix> outer(b), other(a.transpose());
  auto triangle = [&](const Eigen::HouseholderQR<Matrix> &qr) {
    return Matrix(qr.matrixQR().topRows(inner).triangularView<Eigen::Upper>());
  };
  Matrix outputs = outer.householderQ() * Matrix::Identity(rows, inner),
         inputs = other.householderQ() * Matrix::Identity(columns, inner);
  return leadingFactors(triangle(outer) * triangle(other).transpose(), &outputs, &inputs, rank);
}

} // namespace adapter::diff
