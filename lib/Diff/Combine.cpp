// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Combine.h: adapters are read and their updates gathered module by module; the method's row says what becomes of them.
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

using Place = std::pair<std::string, bool>; // a module, and whether its bias is meant

class Combiner {
public:
  Combiner(const Combination &how, const std::vector<Part> &parts, Changes *changes)
      : how(how), method(*how.method), parts(parts), changes(changes), random(how.seed) {}
  Result<Combined> run();

private:
  Status read(size_t part);
  Status take(size_t part, const Update &update);
  Status take(size_t part, const WeightChange &change);
  Status add(const Place &place, Product product);
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
  Changes *changes;
  std::mt19937_64 random;
  std::map<Place, std::vector<Product>> places;
  std::map<std::string, FactorPair> made;
  std::map<std::string, RowMajor> madeBiases; // what is added to them
  Combined result;
  std::string baseModel;
  bool anyTransposed = false;
  // Sums of squares: of the weighted updates by adapter, of what was made of them, of what was cut,
  // and of what that lost.
  std::vector<double> squares;
  double madeSquares = 0, wholeSquares = 0, lostSquares = 0;
};

} // namespace

static RowMajor matrixOf(const Tensor &tensor, int64_t rows) {
  Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> values(
      reinterpret_cast<const float *>(tensor.data), rows, tensor.elements() / rows);
  return values.cast<double>();
}

// Why an update is not a plain product of factors that a folder of PEFT can hold; "" where it is. That of a small matrix
// between two others is one too, where the method is about it.
static std::string whyNotPlain(const Update &update, Level level) {
  bool isMiddle = level == Level::Middles;
  const std::map<std::string, Tensor> &tensors = update.tensors;
  bool hasFactors = tensors.count("A") && tensors.count("B");
  if (isMiddle && (!hasFactors || !tensors.count("R") || tensors.size() != 3))
    return "has no R between A and B, of which the method makes the mean";
  if (!isMiddle && (update.form != "lora" || tensors.size() != 2))
    return "is no plain LoRA (" + update.formText() + ")";
  if (update.parameter != "weight")
    return "changes its " + update.parameter + ", which no factors of a LoRA hold";
  if (update.masked || update.tasks || update.taken)
    return "takes more than its factors";
  if (update.flattened || !update.part.empty())
    return "is named in the way of kohya or diffusers, which a folder of PEFT cannot hold";
  return update.tied ? "follows a tied table (ensure_weight_tying)" : "";
}

Status Combiner::read(size_t part) {
  const std::string &path = parts[part].path;
  Result<Adapter> adapter = readAdapter(path);
  if (!adapter)
    return adapter.error();
  if (adapter->own && !changes)
    return Error{path + ": it is of a form of its own, whose definition is not at hand here"};
  if (adapter->own)
    if (Status status = changes->place(*adapter); !status)
      return status;
  if (baseModel.empty())
    baseModel = adapter->baseModel;
  std::string why;
  for (const Update &update : adapter->updates)
    if (why = whyNotPlain(update, method.level); !why.empty()) {
      why = path + ": module '" + update.module + "' " + why;
      break;
    }
  if (why.empty()) {
    for (const Update &update : adapter->updates)
      if (Status status = take(part, update); !status)
        return status;
    return Done{};
  }
  // Any adapter changes weights, and what it changes them by can be combined, but not by methods of factors.
  if (method.level != Level::Updates && method.level != Level::Stacks)
    return Error{why + "; '" + method.name +
                 "' works on factors alone; svd, for one, works on whole updates"};
  if (!changes || !changes->hasModel())
    return Error{why + "; what it changes is known with the model: give --model base.onnx"};
  Result<std::vector<WeightChange>> all = changes->of(path);
  if (!all)
    return all.error();
  for (WeightChange &change : *all) {
    if (Status status = take(part, change); !status)
      return Error{path + ": " + status.error().message};
    change = {}; // it may be as large as the model
  }
  return Done{};
}

Status Combiner::take(size_t part, const WeightChange &change) {
  if (!allFinite(change.values))
    return Error{"what it changes of module '" + change.module + "' holds numbers that are not finite"};
  bool isBias = change.shape.size() == 1, isTable = change.layer == Layer::Embedding;
  const std::vector<int64_t> &shape = change.shape;
  auto matrix = [](const Tensor &tensor, int64_t rows) {
    return RowMajor(Eigen::Map<const RowMajor>(reinterpret_cast<const double *>(tensor.data), rows,
                                               tensor.elements() / rows));
  };
  Product product{part, parts[part].weight};
  product.layer = change.layer;
  product.what = (isBias ? "its bias " : "its weight ") + shapeText(shape);
  product.down = isTable ? std::vector<int64_t>{0, shape[0]} : shape;
  if (isBias) {
    product.whole = matrix(change.values, 1);
    if (change.before.data)
      product.before = matrix(change.before, 1);
    return add({change.module, true}, std::move(product));
  }
  int64_t out = isTable ? shape[1] : shape[0];
  product.whole = matrix(change.values, out);
  product.down[0] = 0;
  product.up.assign(shape.size(), 1);
  product.up[0] = out;
  product.up[1] = 0;
  return add({change.module, false}, std::move(product));
}

Status Combiner::take(size_t part, const Update &update) {
  const std::string &path = parts[part].path;
  std::map<std::string, RowMajor> matrices;
  Product product{part, parts[part].weight, update.scale};
  for (const auto &[role, tensor] : update.tensors) {
    Result<Tensor> wide = toF32(tensor);
    if (!wide)
      return Error{path + ": " + wide.error().message};
    matrices[role] = matrixOf(*wide, tensor.shape[0]);
    product.what += (product.what.empty() ? "'" : ", '") + tensor.key + "' " + shapeText(tensor.shape);
  }
  product.a = std::move(matrices["A"]);
  product.b = std::move(matrices["B"]);
  product.middle = std::move(matrices["R"]);
  product.down = update.tensors.at("A").shape;
  product.up = update.tensors.at("B").shape;
  product.down[0] = product.up[1] = 0;
  product.layer = update.layer;
  bool fits = update.tensors.count("R")
                  ? product.middle.rows() == product.b.cols() && product.middle.cols() == product.a.rows()
                  : product.b.cols() == product.a.rows();
  if (!fits)
    return Error{path + ": module '" + update.module + "': " + product.what +
                 " are no factors of one product"};
  anyTransposed |= update.transposed;
  if (Status status = add({update.module, false}, std::move(product)); !status)
    return Error{path + ": " + status.error().message};
  return Done{};
}

Status Combiner::add(const Place &place, Product product) {
  const std::string &module = place.first;
  std::vector<Product> &others = places[place];
  if (!others.empty() && others.back().part == product.part)
    return Error{"module '" + module + "' is there twice"};
  if (!others.empty()) {
    const Product &first = others.front();
    bool isTable = first.layer == Layer::Embedding, isOtherTable = product.layer == Layer::Embedding;
    if (first.down != product.down || first.up != product.up || isTable != isOtherTable)
      return Error{"module '" + module + "': " + product.what + " does not fit that of another adapter, " +
                   first.what};
  }
  others.push_back(std::move(product));
  return Done{};
}

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
    FactorPair all = stacked(products);
    return taken(module,
                 factoriseProduct(all.b.data(), all.a.data(), all.b.rows(), all.a.rows(), all.a.cols(),
                                  rankOf(products)),
                 all.b.rows());
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
  const Product &first = places[{module, false}].front();
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
  const RowMajor &before = places[{module, true}].front().before;
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
                          {"base_model_name_or_path", baseModel},
                          {"bias", result.biases.empty() ? "none" : "all"},
                          {"fan_in_fan_out", anyTransposed},
                          {"inference_mode", true}};
  addRanks(result.configuration, result.ranks);
  return Done{};
}

Result<Combined> Combiner::run() {
  if (parts.size() < method.least || parts.size() > method.most)
    return Error{"'" + method.name + "' combines " + (method.least == method.most ? "" : "at least ") +
                 std::to_string(method.least) + " adapters, not " + std::to_string(parts.size())};
  squares.assign(parts.size(), 0.0);
  for (size_t part = 0; part < parts.size(); ++part)
    if (Status status = read(part); !status)
      return status.error();
  if (places.empty())
    return Error{"the adapters change nothing that could be combined"};
  for (auto &[place, products] : places) {
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
  return Combiner(how, parts, changes).run();
}

} // namespace adapter::diff
