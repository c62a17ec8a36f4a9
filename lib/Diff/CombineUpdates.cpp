// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pruning and mixing of values, element by element or by the directions that they span. Formulas follow
// peft/utils/merge_utils.py of PEFT 0.21 and mergekit's methods; docs/combining.md lists them.
#include "lib/Diff/CombineMethods.h"
#include "lib/Diff/Diff.h"
#include <algorithm>
#include <cmath>
#include <numeric>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;

//===----------------------------------------------------------------------===//
// Pruning
//===----------------------------------------------------------------------===//

namespace {
// Orders places by the magnitudes there, the largest first, the first ones among equals.
struct Larger {
  const double *values;
  bool operator()(Eigen::Index x, Eigen::Index y) const {
    double first = std::fabs(values[x]), second = std::fabs(values[y]);
    return first != second ? first > second : x < y;
  }
};
} // namespace

static std::vector<Eigen::Index> placesOf(Eigen::Index size) {
  std::vector<Eigen::Index> order(size);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

// Leaves the elements at places [begin, end) of that order.
static void keepBetween(RowMajor &values, Eigen::Index begin, Eigen::Index end) {
  std::vector<Eigen::Index> order = placesOf(values.size());
  Larger larger{values.data()};
  std::nth_element(order.begin(), order.begin() + end, order.end(), larger);
  std::nth_element(order.begin(), order.begin() + begin, order.begin() + end, larger);
  for (Eigen::Index i = 0; i < values.size(); ++i)
    if (i < begin || i >= end)
      values.data()[order[i]] = 0.0;
}

static Eigen::Index shareOf(double share, const RowMajor &values) {
  return static_cast<Eigen::Index>(share * static_cast<double>(values.size()));
}

void keepLargest(RowMajor &values, const Combination &how, std::mt19937_64 &) {
  if (how.density < 1)
    keepBetween(values, 0, shareOf(how.density, values));
}

void keepMiddle(RowMajor &values, const Combination &how, std::mt19937_64 &) {
  keepBetween(values, shareOf(how.gamma, values), values.size() - shareOf(how.beta, values));
}

static double keptWith(double chance, double value, std::mt19937_64 &random) {
  return std::bernoulli_distribution(chance)(random) ? value / chance : 0.0;
}

void keepRandom(RowMajor &values, const Combination &how, std::mt19937_64 &random) {
  if (how.density >= 1)
    return;
  for (double &value : values.reshaped())
    value = keptWith(how.density, value, random);
}

void keepByRank(RowMajor &values, const Combination &how, std::mt19937_64 &random) {
  if (how.density >= 1)
    return;
  for (Eigen::Index row = 0; row < values.rows(); ++row) {
    double *elements = values.data() + row * values.cols();
    std::vector<Eigen::Index> order = placesOf(values.cols());
    std::sort(order.begin(), order.end(), Larger{elements});
    for (Eigen::Index i = 0; i < values.cols(); ++i) {
      double above = values.cols() > 1 ? 1 - static_cast<double>(i) / (values.cols() - 1) : 0.5;
      double &value = elements[order[i]];
      value = keptWith(how.density + (2 * above - 1) * how.epsilon, value, random);
    }
  }
}

//===----------------------------------------------------------------------===//
// Mixing, element by element
//===----------------------------------------------------------------------===//

Result<RowMajor> weightedSum(Mixing &mixing) {
  RowMajor sum = mixing.weights[0] * mixing.values[0];
  for (size_t k = 1; k < mixing.values.size(); ++k)
    sum += mixing.weights[k] * mixing.values[k];
  return sum;
}

Result<RowMajor> elected(Mixing &mixing) {
  const std::vector<RowMajor> &values = mixing.values;
  RowMajor mean(values.front().rows(), values.front().cols());
  auto sign = [](double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; };
  for (Eigen::Index i = 0; i < mean.size(); ++i) {
    double total = 0, result = 0;
    int64_t count = 0;
    for (const RowMajor &each : values)
      total += mixing.how.countsSigns ? sign(each.data()[i]) : each.data()[i];
    for (size_t k = 0; k < values.size(); ++k) {
      double value = values[k].data()[i];
      if (sign(value) != (total >= 0 ? 1.0 : -1.0))
        continue;
      ++count;
      result += mixing.weights[k] * value;
    }
    mean.data()[i] = result / static_cast<double>(std::max<int64_t>(count, 1));
  }
  return mean;
}

//===----------------------------------------------------------------------===//
// Mixing, by angles
//===----------------------------------------------------------------------===//

static void applyWeights(Mixing &mixing) {
  for (size_t k = 0; k < mixing.values.size(); ++k)
    mixing.values[k] *= mixing.weights[k];
}

// The cosine of the angle between two; 0 where one of them is nothing.
static double cosine(const RowMajor &a, const RowMajor &b) {
  double norms = a.norm() * b.norm();
  return norms > 0 ? std::clamp(a.cwiseProduct(b).sum() / norms, -1.0, 1.0) : 0.0;
}

Result<RowMajor> onSphere(Mixing &mixing) {
  constexpr double parallel = 0.9995; // mergekit's bound, beyond which the arc is a line
  applyWeights(mixing);
  const RowMajor &a = mixing.values[0], &b = mixing.values[1];
  double t = mixing.how.t, cos = cosine(a, b);
  if (std::fabs(cos) > parallel)
    return RowMajor((1 - t) * a + t * b);
  double angle = std::acos(cos);
  return RowMajor((std::sin((1 - t) * angle) * a + std::sin(t * angle) * b) / std::sin(angle));
}

Result<RowMajor> byAngle(Mixing &mixing) {
  applyWeights(mixing);
  const std::vector<RowMajor> &values = mixing.values;
  auto count = static_cast<double>(values.size());
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i)
    for (size_t j = i + 1; j < values.size(); ++j)
      sum += cosine(values[i], values[j]);
  double mean = sum / (count * (count - 1) / 2), below = 1 + (count - 1) * mean;
  if (below < 1e-9)
    return Error{"the updates point away from each other, where the method has no value"};
  RowMajor total = values[0];
  for (size_t k = 1; k < values.size(); ++k)
    total += values[k];
  return RowMajor(mean / below * total); // (count mean / below) (total / count)
}

//===----------------------------------------------------------------------===//
// Mixing, by directions
//===----------------------------------------------------------------------===//

namespace {
// left diag(values) right, by orthonormal columns and rows; none of them of a matrix that is zero.
struct Directions {
  RowMajor left, right;
  Eigen::VectorXd values;
};
} // namespace

static Result<Directions> directionsOf(const RowMajor &matrix, int64_t rank) {
  Result<Factors> factors = factorise(matrix.data(), matrix.rows(), matrix.cols(), rank);
  if (!factors)
    return factors.error();
  Directions found{Eigen::Map<RowMajor>(factors->b.data(), matrix.rows(), factors->rank),
                   Eigen::Map<RowMajor>(factors->a.data(), factors->rank, matrix.cols()),
                   {}};
  found.values = found.right.rowwise().squaredNorm(); // the root of each value is on either side
  if (!(found.values.maxCoeff() > 0))
    return Directions{RowMajor(matrix.rows(), 0), RowMajor(0, matrix.cols()), Eigen::VectorXd(0)};
  Eigen::VectorXd scales = found.values.cwiseSqrt().cwiseInverse();
  found.left = found.left * scales.asDiagonal();
  found.right = scales.asDiagonal() * found.right;
  return found;
}

Result<RowMajor> aligned(Mixing &mixing) {
  std::vector<RowMajor> &values = mixing.values;
  Eigen::Index columns = values.front().cols();
  RowMajor all(values.front().rows(), columns * static_cast<Eigen::Index>(values.size()));
  for (size_t k = 0; k < values.size(); ++k)
    all.middleCols(static_cast<Eigen::Index>(k) * columns, columns) = values[k];
  Result<Directions> shared = directionsOf(all, mixing.rank);
  if (!shared)
    return shared.error();
  if (!shared->values.size())
    return values.front();
  for (RowMajor &each : values) {
    each = shared->left.transpose() * each;
    keepLargest(each, mixing.how, mixing.random);
  }
  Result<RowMajor> mean = elected(mixing);
  return RowMajor(shared->left * *mean);
}

// By lambda the method scales what it has after each adapter, and takes that back with the next: the directions do not
// depend on it, so that the scale of the end is all that counts (Method::keepsNorm).
Result<RowMajor> oneByOne(Mixing &mixing) {
  if (mixing.isVector) // has no directions
    return weightedSum(mixing);
  applyWeights(mixing);
  RowMajor merged = mixing.values[0];
  for (size_t k = 1; k < mixing.values.size(); ++k) {
    Result<Directions> before = directionsOf(merged, mixing.rank);
    if (!before)
      return before.error();
    const RowMajor &next = mixing.values[k];
    merged += next;
    double bound = before->values.sum() * mixing.how.alpha * (1 + 1e-12),
           sum = 0; // all of it, but for rounding
    RowMajor taken = before->left.transpose() * next * before->right.transpose();
    Eigen::Index closed = 0;
    while (closed < taken.rows() && (sum += before->values[closed]) <= bound)
      ++closed;
    for (Eigen::Index i = 0; i < taken.rows(); ++i)
      for (Eigen::Index j = 0; j < taken.cols(); ++j)
        if (i != j && (i >= closed || j >= closed))
          taken(i, j) = 0;
    merged -= before->left * taken * before->right;
  }
  return merged;
}

} // namespace adapter::diff
