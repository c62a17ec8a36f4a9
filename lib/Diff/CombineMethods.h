// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the methods of combining are made of. U is what an adapter adds to a weight, B A of a LoRA, its scale included; w is
// the adapter's weight.
#ifndef ADAPTER_LIB_DIFF_COMBINEMETHODS_H
#define ADAPTER_LIB_DIFF_COMBINEMETHODS_H

#include "lib/Diff/Combine.h"
#include <Eigen/Core>
#include <random>

namespace adapter::diff {

using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// What a method works on.
enum class Level {
  Stacks,  // factors, one behind the other: the sum itself
  Factors, // A and B apart, as PEFT does without "_svd"
  Units,   // rows of A with columns of B
  Middles, // R between A and B, which are the same in all adapters
  Updates  // U; what is made of it is factorised
};

// The values of the adapters that have a module, all updates, all A or all B.
struct Mixing {
  std::vector<RowMajor> values;
  std::vector<double> weights;
  const Combination &how;
  std::mt19937_64 &random;
  int64_t rank;          // at most, of all values side by side
  bool isVector = false; // a bias, as a row
};

using Prune = void (*)(RowMajor &values, const Combination &how, std::mt19937_64 &random);
using Mix = checkpoint::Result<RowMajor> (*)(Mixing &mixing);

struct Method {
  std::string name;
  Level level;
  std::string formula; // for people
  std::string source;
  std::vector<std::string> settings = {}; // with a "!" behind those that must be given
  Mix mix = nullptr;
  Prune prune = nullptr;
  size_t least = 1, most = std::numeric_limits<size_t>::max(); // adapters
  bool countsAll = false; // an adapter without a module counts there as an update of zeros
  bool keepsNorm = false; // the result is brought to the mean of the adapters' norms, over all modules
};

// Leaves the largest elements, the first ones among equals.
void keepLargest(RowMajor &values, const Combination &how, std::mt19937_64 &random);
// Leaves random ones, which then stand for all.
void keepRandom(RowMajor &values, const Combination &how, std::mt19937_64 &random);
// The same, where larger elements of a row are more likely to be kept.
void keepByRank(RowMajor &values, const Combination &how, std::mt19937_64 &random);
// Leaves those between the smallest and the largest.
void keepMiddle(RowMajor &values, const Combination &how, std::mt19937_64 &random);

checkpoint::Result<RowMajor> weightedSum(Mixing &mixing);
// The mean of elements whose sign is the majority's.
checkpoint::Result<RowMajor> elected(Mixing &mixing);
checkpoint::Result<RowMajor> onSphere(Mixing &mixing);
checkpoint::Result<RowMajor> byAngle(Mixing &mixing);
checkpoint::Result<RowMajor> aligned(Mixing &mixing);
checkpoint::Result<RowMajor> oneByOne(Mixing &mixing);

// One adapter's update of a module: factors A [rank, columns] and B [out, rank], perhaps with R between them, or `whole`;
// of a bias a row, and what the bias was `before`.
struct Product {
  size_t part; // of which adapter
  double weight, scale = 1;
  RowMajor a = {}, b = {}, middle = {}, whole = {}, before = {};
  std::vector<int64_t> down = {}, up = {}; // shapes of PEFT's factors, with 0 for the rank
  checkpoint::Layer layer = checkpoint::Layer::Product;
  std::string what = {}; // its tensors with their shapes, for messages

  bool isWhole() const { return whole.size() > 0; }
  RowMajor update() const { return isWhole() ? whole : RowMajor(scale * b * a); }
};

using Place = std::pair<std::string, bool>; // a module, and whether its bias is meant

// The updates of all adapters.
struct Gathered {
  std::map<Place, std::vector<Product>> places; // in the order of the adapters
  std::string baseModel;
  bool anyTransposed = false;
};
// Reads them as the method wants them.
checkpoint::Result<Gathered> gather(const Method &method, const std::vector<Part> &parts, Changes *changes);

struct FactorPair {
  RowMajor a, b;
};

FactorPair stacked(const std::vector<Product> &products);
// A and B mixed each by themselves, with the root of weight and scale on either side: not the sum of the products.
checkpoint::Result<FactorPair> mixedFactors(const std::vector<Product> &products, const Combination &how,
                                            std::mt19937_64 &random);
// Units in as many clusters as the rank says, with a unit for each.
FactorPair clustered(const std::vector<Product> &products, const Combination &how, std::mt19937_64 &random);
checkpoint::Result<FactorPair> withMeanMiddle(const std::vector<Product> &products);

} // namespace adapter::diff

#endif // ADAPTER_LIB_DIFF_COMBINEMETHODS_H
