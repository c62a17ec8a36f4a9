// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Combining by factors. Follows peft/tuners/lora/model.py (add_weighted_adapter) of PEFT 0.21; units are those of LoRA-LEGO
// (arXiv 2409.16167), middles those of Fed-SB (arXiv 2502.15436).
#include "lib/Diff/CombineMethods.h"
#include <algorithm>
#include <cmath>

namespace adapter::diff {

using checkpoint::Error;
using checkpoint::Result;

FactorPair stacked(const std::vector<Product> &products) {
  Eigen::Index rank = 0, at = 0;
  for (const Product &each : products)
    rank += each.a.rows();
  FactorPair all{RowMajor(rank, products.front().a.cols()), RowMajor(products.front().b.rows(), rank)};
  for (const Product &each : products) {
    all.a.middleRows(at, each.a.rows()) = each.weight * each.scale * each.a;
    all.b.middleCols(at, each.a.rows()) = each.b;
    at += each.a.rows();
  }
  return all;
}

Result<FactorPair> mixedFactors(const std::vector<Product> &products, const Combination &how,
                                std::mt19937_64 &random) {
  const Method &method = *how.method;
  Mixing downs{{}, {}, how, random, 0}, ups{{}, {}, how, random, 0};
  for (const Product &each : products) {
    if (each.a.rows() != products.front().a.rows())
      return Error{"it has ranks " + std::to_string(products.front().a.rows()) + " and " +
                   std::to_string(each.a.rows()) + ", of which '" + method.name +
                   "' takes one alone; cat, svd and the methods that end in _svd take others"};
    double weight = each.weight * each.scale, root = std::sqrt(std::fabs(weight));
    downs.values.push_back(each.a);
    downs.weights.push_back(weight < 0 ? -root : root);
    ups.values.push_back(each.b);
    ups.weights.push_back(root);
  }
  FactorPair mixed;
  for (auto [mixing, result] : {std::pair(&downs, &mixed.a), std::pair(&ups, &mixed.b)}) {
    if (method.prune)
      for (RowMajor &each : mixing->values)
        method.prune(each, how, random);
    Result<RowMajor> made = method.mix(*mixing);
    if (!made)
      return made.error();
    *result = std::move(*made);
  }
  return mixed;
}

//===----------------------------------------------------------------------===//
// Units
//===----------------------------------------------------------------------===//

static Eigen::Index nearest(const RowMajor &centres, const Eigen::RowVectorXd &unit) {
  Eigen::Index best = 0;
  (centres.rowwise() - unit).rowwise().squaredNorm().minCoeff(&best);
  return best;
}

// k-means++: units as the first centres, far from one another; fewer where there are fewer that differ.
static RowMajor firstCentres(const RowMajor &units, Eigen::Index count, std::mt19937_64 &random) {
  RowMajor centres(count, units.cols());
  Eigen::VectorXd far = Eigen::VectorXd::Constant(units.rows(), std::numeric_limits<double>::infinity());
  std::uniform_real_distribution<double> share;
  Eigen::Index chosen = std::min(static_cast<Eigen::Index>(share(random) * units.rows()), units.rows() - 1);
  for (Eigen::Index made = 0;;) {
    centres.row(made++) = units.row(chosen);
    far = far.cwiseMin((units.rowwise() - units.row(chosen)).rowwise().squaredNorm());
    double all = far.sum();
    if (made == count || !(all > 0))
      return centres.topRows(made);
    double left = share(random) * all;
    for (Eigen::Index i = 0; i < units.rows(); ++i)
      if (far[i] > 0) {
        chosen = i;
        if ((left -= far[i]) < 0)
          break;
      }
  }
}

// Which centre each unit belongs to, once nothing changes any more.
static std::vector<Eigen::Index> clustersOf(const RowMajor &units, RowMajor &centres) {
  constexpr int most = 300;
  std::vector<Eigen::Index> owner(units.rows(), -1);
  for (int round = 0; round < most; ++round) {
    bool changed = false;
    RowMajor sums = RowMajor::Zero(centres.rows(), centres.cols());
    Eigen::VectorXd counts = Eigen::VectorXd::Zero(centres.rows());
    for (Eigen::Index i = 0; i < units.rows(); ++i) {
      Eigen::Index best = nearest(centres, units.row(i));
      changed |= best != owner[i];
      owner[i] = best;
      sums.row(best) += units.row(i);
      counts[best] += 1;
    }
    if (!changed)
      break;
    for (Eigen::Index c = 0; c < centres.rows(); ++c)
      if (counts[c] > 0)
        centres.row(c) = sums.row(c) / counts[c];
  }
  return owner;
}

FactorPair clustered(const std::vector<Product> &products, const Combination &how, std::mt19937_64 &random) {
  FactorPair all = stacked(products);
  double ranks = 0, largest = 0;
  Eigen::Index at = 0, count = 0, columns = all.a.cols(), outputs = all.b.rows();
  // Weight and scale go half to either side, so that units of all adapters can be compared.
  RowMajor units(all.a.rows(), columns + outputs);
  for (const Product &each : products) {
    double weight = each.weight * each.scale, root = std::sqrt(std::fabs(weight));
    for (Eigen::Index i = 0; i < each.a.rows(); ++i) {
      units.row(count) << (weight < 0 ? -root : root) * each.a.row(i), root * each.b.col(i).transpose();
      count += units.row(count).squaredNorm() > 0; // a unit of zeros is none
    }
    ranks += static_cast<double>(each.a.rows());
    largest = std::max(largest, static_cast<double>(each.a.rows()));
    at += each.a.rows();
  }
  auto wanted = how.rank ? std::min<int64_t>(how.rank, at) : static_cast<int64_t>(largest);
  if (count == 0)
    return {RowMajor::Zero(1, columns), RowMajor::Zero(outputs, 1)};
  units.conservativeResize(count, Eigen::NoChange);
  RowMajor centres = firstCentres(units, std::min<Eigen::Index>(wanted, count), random);
  std::vector<Eigen::Index> owner = clustersOf(units, centres);
  // A mean is shorter than what it is of: it gets the mean of their lengths. As many directions as there were on average
  // give outputs as large as they were.
  Eigen::VectorXd lengths = Eigen::VectorXd::Zero(centres.rows()), counts = lengths;
  for (Eigen::Index i = 0; i < count; ++i) {
    lengths[owner[i]] += units.row(i).norm();
    counts[owner[i]] += 1;
  }
  double output =
      std::sqrt(ranks / static_cast<double>(products.size()) / static_cast<double>(centres.rows()));
  for (Eigen::Index c = 0; c < centres.rows(); ++c)
    if (double norm = centres.row(c).norm(); norm > 0 && counts[c] > 0)
      centres.row(c) *= lengths[c] / counts[c] / norm;
  return {output * centres.leftCols(columns), centres.rightCols(outputs).transpose()};
}

//===----------------------------------------------------------------------===//
// Middles
//===----------------------------------------------------------------------===//

Result<FactorPair> withMeanMiddle(const std::vector<Product> &products) {
  const Product &first = products.front();
  RowMajor mean = RowMajor::Zero(first.middle.rows(), first.middle.cols());
  double weights = 0;
  for (const Product &each : products) {
    bool isSame = each.a.rows() == first.a.rows() && each.b.cols() == first.b.cols() && each.a == first.a &&
                  each.b == first.b;
    if (!isSame)
      return Error{"A and B are not the same in all adapters, where the mean of R says nothing; svd takes "
                   "them, with --model"};
    mean += each.weight * each.scale * each.middle;
    weights += each.weight;
  }
  if (!(std::fabs(weights) > 1e-12))
    return Error{"the weights add up to nothing, where there is no mean"};
  return FactorPair{first.a, first.b * mean / weights};
}

} // namespace adapter::diff
