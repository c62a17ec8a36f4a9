// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Combine.h: the method's row says what becomes of the updates of each module.
#include "lib/Diff/Combine.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Diff/CombineMethods.h"
#include "lib/Diff/Diff.h"
#include "lib/Diff/Folder.h"
#include <algorithm>
#include <cmath>

namespace adapter::diff {

using namespace checkpoint;

namespace {

class Combiner {
public:
  Combiner(const Combination &how, const std::vector<Part> &parts)
      : how(how), method(*how.method), parts(parts), random(how.seed), squares(parts.size()) {}
  Result<Combined> run(Gathered gathered);

private:
  void addZeros(std::vector<Product> &products) const;
  Status combineAt(const Place &place, const std::vector<Product> &products);
  Result<FactorPair> combined(const std::string &module, const std::vector<Product> &products);
  Result<RowMajor> mixed(const std::vector<Product> &products, bool isVector);
  int64_t rankOf(const std::vector<Product> &products) const;
  Result<FactorPair> taken(const std::string &module, const Result<Factors> &factors, int64_t rows);
  void write(const std::string &module, FactorPair pair);
  void writeBias(const std::string &module, const RowMajor &sum);
  Status finish();

  const Combination &how;
  const Method &method;
  const std::vector<Part> &parts;
  std::mt19937_64 random;
  Gathered all;
  std::map<std::string, FactorPair> made;
  std::map<std::string, RowMajor> madeBiases; // what is added to them
  Combined result;
  // Sums of squares: of the weighted updates by adapter, of what was made of them, of what was cut,
  // and of what that lost.
  std::vector<double> squares;
  double madeSquares = 0, wholeSquares = 0, lostSquares = 0;
};

} // namespace

void Combiner::addZeros(std::vector<Product> &products) const {
  Product zeros = products.front();
  zeros.whole *= 0;
  zeros.scale = 0;
  for (size_t part = 0; part < parts.size(); ++part) {
    auto at = std::find_if(products.begin(), products.end(),
                           [&](const Product &each) { return each.part >= part; });
    if (at != products.end() && at->part == part)
      continue;
    zeros.part = part;
    zeros.weight = parts[part].weight;
    products.insert(at, zeros);
  }
}

// How many directions the result of a module keeps.
int64_t Combiner::rankOf(const std::vector<Product> &products) const {
  int64_t rank = how.rank;
  for (const Product &each : products)
    if (!how.rank)
      rank = each.isWhole() ? fullRank : std::max<int64_t>(rank, each.a.rows());
  return rank;
}

Result<FactorPair> Combiner::taken(const std::string &module, const Result<Factors> &factors, int64_t rows) {
  if (!factors)
    return factors.error();
  lostSquares += factors->lost;
  wholeSquares += factors->squares;
  result.isCut = true;
  double error = factors->squares > 0 ? std::sqrt(factors->lost / factors->squares) : 0;
  if (error > result.largestError) {
    result.largestError = error;
    result.largestAt = module;
  }
  auto columns = static_cast<int64_t>(factors->a.size()) / factors->rank;
  return FactorPair{Eigen::Map<const RowMajor>(factors->a.data(), factors->rank, columns),
                    Eigen::Map<const RowMajor>(factors->b.data(), rows, factors->rank)};
}

Result<FactorPair> Combiner::combined(const std::string &module, const std::vector<Product> &products) {
  bool anyWhole =
      std::any_of(products.begin(), products.end(), [](const Product &each) { return each.isWhole(); });
  switch (method.level) {
  case Level::Factors:
    return mixedFactors(products, how, random);
  case Level::Units:
    return clustered(products, how, random);
  case Level::Middles:
    return withMeanMiddle(products);
  case Level::Stacks:
    if (!anyWhole && !how.rank)
      return stacked(products);
    break;
  case Level::Updates:
    break;
  }
  if (bool isSum = !method.prune && (!method.mix || method.mix == weightedSum); isSum && !anyWhole) {
    FactorPair stack = stacked(products);
    if (!stack.a.allFinite())
      return Error{"it would hold a number that is not finite"};
    return taken(module,
                 factoriseProduct(stack.b.data(), stack.a.data(), stack.b.rows(), stack.a.rows(),
                                  stack.a.cols(), rankOf(products)),
                 stack.b.rows());
  }
  Result<RowMajor> sum = mixed(products, /*isVector=*/false);
  if (!sum)
    return sum.error();
  return taken(module, factorise(sum->data(), sum->rows(), sum->cols(), rankOf(products)), sum->rows());
}

Result<RowMajor> Combiner::mixed(const std::vector<Product> &products, bool isVector) {
  Mixing mixing{{}, {}, how, random, 0, isVector};
  for (const Product &each : products) {
    mixing.values.push_back(each.update());
    mixing.weights.push_back(each.weight);
    mixing.rank = each.isWhole() || mixing.rank == fullRank ? fullRank : mixing.rank + each.a.rows();
    squares[each.part] += (each.weight * mixing.values.back()).squaredNorm();
    if (!std::isfinite(squares[each.part]))
      return Error{"it would hold a number that is not finite"};
    if (method.prune)
      method.prune(mixing.values.back(), how, random);
  }
  Result<RowMajor> sum = method.mix ? method.mix(mixing) : weightedSum(mixing);
  if (sum && !sum->allFinite())
    return Error{"it would hold a number that is not finite"};
  if (sum)
    madeSquares += sum->squaredNorm();
  return sum;
}

Status Combiner::combineAt(const Place &place, const std::vector<Product> &products) {
  const auto &[module, isBias] = place;
  if (!isBias) {
    Result<FactorPair> pair = combined(module, products);
    if (!pair)
      return Error{"module '" + module + "': " + pair.error().message};
    made[module] = std::move(*pair);
    return Done{};
  }
  Result<RowMajor> sum = mixed(products, /*isVector=*/true);
  if (!sum)
    return Error{"module '" + module + "', bias: " + sum.error().message};
  madeBiases[module] = std::move(*sum);
  return Done{};
}

static Tensor tensorOf(const RowMajor &matrix, std::vector<int64_t> shape, const std::string &key) {
  Tensor tensor = allocateTensor(DType::F32, std::move(shape));
  tensor.key = key;
  auto *values = reinterpret_cast<float *>(mutableData(tensor));
  std::transform(matrix.data(), matrix.data() + matrix.size(), values,
                 [](double value) { return static_cast<float>(value); });
  return tensor;
}

void Combiner::write(const std::string &module, FactorPair pair) {
  const Product &first = all.places[{module, false}].front();
  std::vector<int64_t> down = first.down, up = first.up;
  down[0] = up[1] = pair.a.rows();
  bool isTable = first.layer == Layer::Embedding;
  const std::string key = "base_model.model." + module + (isTable ? ".lora_embedding_" : ".lora_"),
                    end = isTable ? "" : ".weight";
  result.tensors.push_back(tensorOf(pair.a, std::move(down), key + "A" + end));
  result.tensors.push_back(tensorOf(pair.b, std::move(up), key + "B" + end));
  result.ranks[module] = pair.a.rows();
}

// A folder holds a bias as it becomes.
void Combiner::writeBias(const std::string &module, const RowMajor &sum) {
  const RowMajor &before = all.places[{module, true}].front().before;
  result.biases[module] = tensorOf(sum, {sum.cols()}, module + ".bias");
  if (!before.size() || result.ranks.empty()) {
    result.unwritable = before.size() ? "the adapters change biases alone"
                                      : "module '" + module + "' has no bias in the model and gets one";
    return;
  }
  std::string key =
      "base_model.model." + module + (result.ranks.count(module) ? ".base_layer" : "") + ".bias";
  result.tensors.push_back(tensorOf(before + sum, {sum.cols()}, key));
}

Status Combiner::finish() {
  double scale = 1, norms = 0;
  for (double each : squares)
    norms += std::sqrt(each);
  if (method.keepsNorm && madeSquares > 0)
    scale = norms / static_cast<double>(parts.size()) / std::sqrt(madeSquares);
  for (auto &[module, pair] : made) {
    pair.a *= scale;
    write(module, std::move(pair));
  }
  for (const auto &[module, sum] : madeBiases)
    writeBias(module, scale * sum);
  for (const Tensor &tensor : result.tensors)
    if (!allFinite(tensor))
      return Error{"'" + tensor.key + "' would hold a number that is not finite"};
  result.error = wholeSquares > 0 ? std::sqrt(lostSquares / wholeSquares) : 0;
  result.configuration = {{"peft_type", "LORA"},
                          {"base_model_name_or_path", all.baseModel},
                          {"bias", result.biases.empty() ? "none" : "all"},
                          {"fan_in_fan_out", all.anyTransposed},
                          {"inference_mode", true}};
  addRanks(result.configuration, result.ranks);
  return Done{};
}

Result<Combined> Combiner::run(Gathered gathered) {
  all = std::move(gathered);
  for (auto &[place, products] : all.places) {
    if (isCancelled())
      return cancelledError();
    if (method.countsAll)
      addZeros(products);
    if (Status status = combineAt(place, products); !status)
      return status.error();
    for (Product &each : products)
      each.whole.resize(0, 0);
  }
  if (Status status = finish(); !status)
    return status.error();
  return std::move(result);
}

Result<Combined> combine(const Combination &how, const std::vector<Part> &parts, Changes *changes) {
  const Method &method = *how.method;
  if (parts.size() < method.least || parts.size() > method.most)
    return Error{"'" + method.name + "' combines " + (method.least == method.most ? "" : "at least ") +
                 std::to_string(method.least) + " adapters, not " + std::to_string(parts.size())};
  Result<Gathered> gathered = gather(method, parts, changes);
  if (!gathered)
    return gathered.error();
  return Combiner(how, parts).run(std::move(*gathered));
}

} // namespace adapter::diff
