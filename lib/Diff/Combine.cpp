// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Combine.h. Follows peft/tuners/lora/model.py (add_weighted_adapter) and peft/utils/merge_utils.py of PEFT 0.21; TIES is
// arXiv 2306.01708, DARE arXiv 2311.03099.
#include "lib/Diff/Combine.h"
#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Diff/Diff.h"
#include "lib/Diff/Folder.h"
#include <Eigen/Core>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>
#include <random>

namespace adapter::diff {

using namespace checkpoint;
using RowMajor = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

namespace {

// One adapter's product for a module, A as [rank, columns] and B as [out, rank].
struct Product {
  RowMajor a, b;
  double scale, weight;
  const Update *update;
};

using Values = std::vector<RowMajor>;

class Combiner {
public:
  explicit Combiner(const Combination &how) : how(how), random(how.seed) {}
  Result<Combined> run(const std::vector<Part> &parts, const std::string &folder);

private:
  Status take(const Part &part, const Adapter &adapter);
  Status combineModule(const std::string &module, const std::vector<Product> &products);
  Status combineFactors(const std::string &module, const std::vector<Product> &products, RowMajor &a,
                        RowMajor &b);
  RowMajor mixed(Values values, const std::vector<double> &weights);
  void prune(RowMajor &values);
  void add(const std::string &module, const Update &update, const RowMajor &a, const RowMajor &b);

  const Combination &how;
  std::mt19937_64 random;
  std::map<std::string, std::vector<Product>> modules;
  std::vector<Tensor> tensors;
  std::map<std::string, int64_t> ranks;
  bool anyTransposed = false;
};

} // namespace

static RowMajor matrixOf(const Tensor &tensor, int64_t rows) {
  Eigen::Map<const Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>> values(
      reinterpret_cast<const float *>(tensor.data), rows, tensor.elements() / rows);
  return values.cast<double>();
}

// Why an update is not a plain LoRA that a folder of PEFT can hold; "" where it is.
static std::string whyNotPlain(const Update &update) {
  if (update.form != "lora" || update.parameter != "weight" || update.tensors.size() != 2)
    return "is not a plain LoRA (" + update.parameter +
           "); only LoRAs are combined, bind others side by side";
  if (update.masked || update.tasks || update.taken)
    return "takes more than its factors; combine it where it is used, by several --adapter";
  if (update.flattened || !update.part.empty())
    return "is named in the way of kohya or diffusers, which a folder of PEFT cannot hold";
  return update.tied ? "follows a tied table (ensure_weight_tying), which is not supported here" : "";
}

Status Combiner::take(const Part &part, const Adapter &adapter) {
  for (const Update &update : adapter.updates) {
    if (std::string why = whyNotPlain(update); !why.empty())
      return Error{part.path + ": module '" + update.module + "' " + why};
    Result<Tensor> a = toF32(update.tensors.at("A")), b = toF32(update.tensors.at("B"));
    if (!a || !b)
      return Error{part.path + ": " + (a ? b : a).error().message};
    Product product{matrixOf(*a, a->shape[0]), matrixOf(*b, b->shape[0]), update.scale, part.weight, &update};
    std::vector<Product> &others = modules[update.module];
    if (!others.empty()) {
      const Update &first = *others.front().update;
      std::vector<int64_t> shape = update.tensors.at("A").shape, other = first.tensors.at("A").shape;
      shape[0] = other[0];
      if (shape != other || product.b.rows() != others.front().b.rows() || first.layer != update.layer)
        return Error{part.path + ": module '" + update.module + "': '" + a->key + "' " +
                     shapeText(update.tensors.at("A").shape) + " and '" + b->key + "' " +
                     shapeText(update.tensors.at("B").shape) + " do not fit those of another adapter, " +
                     shapeText(first.tensors.at("A").shape) + " and " +
                     shapeText(first.tensors.at("B").shape)};
    }
    anyTransposed |= update.transposed;
    others.push_back(std::move(product));
  }
  return Done{};
}

// Leaves the largest elements, the first ones among equals, or random ones, which then stand for all.
void Combiner::prune(RowMajor &values) {
  if (how.density >= 1)
    return;
  if (how.prune == Combination::Prune::Random) {
    std::bernoulli_distribution keeps(how.density);
    for (double &value : values.reshaped())
      value = keeps(random) ? value / how.density : 0.0;
    return;
  }
  std::vector<Eigen::Index> order(values.size());
  std::iota(order.begin(), order.end(), 0);
  auto kept = static_cast<Eigen::Index>(how.density * static_cast<double>(values.size()));
  std::nth_element(order.begin(), order.begin() + kept, order.end(), [&](Eigen::Index x, Eigen::Index y) {
    double first = std::fabs(values.data()[x]), second = std::fabs(values.data()[y]);
    return first != second ? first > second : x < y;
  });
  for (auto each = order.begin() + kept; each != order.end(); ++each)
    values.data()[*each] = 0.0;
}

RowMajor Combiner::mixed(Values values, const std::vector<double> &weights) {
  if (how.prune != Combination::Prune::None)
    for (RowMajor &each : values)
      prune(each);
  RowMajor sum = RowMajor::Zero(values.front().rows(), values.front().cols());
  for (Eigen::Index i = 0; i < sum.size(); ++i) {
    double total = 0, result = 0;
    int64_t count = 0;
    auto sign = [](double x) { return x > 0 ? 1.0 : x < 0 ? -1.0 : 0.0; };
    for (const RowMajor &each : values)
      total += how.countsSigns ? sign(each.data()[i]) : each.data()[i];
    for (size_t k = 0; k < values.size(); ++k) {
      double value = values[k].data()[i];
      bool counts = !how.elects || sign(value) == (total >= 0 ? 1.0 : -1.0);
      count += counts;
      result += counts ? weights[k] * value : 0.0;
    }
    sum.data()[i] = how.elects ? result / static_cast<double>(std::max<int64_t>(count, 1)) : result;
  }
  return sum;
}

// A and B each by themselves, with the root of weight and scale on either side: not the sum of the products.
Status Combiner::combineFactors(const std::string &module, const std::vector<Product> &products, RowMajor &a,
                                RowMajor &b) {
  Values downs, ups;
  std::vector<double> left, right;
  for (const Product &each : products) {
    if (each.a.rows() != products.front().a.rows())
      return Error{"module '" + module + "' has ranks " + std::to_string(products.front().a.rows()) +
                   " and " + std::to_string(each.a.rows()) + ", of which '" + how.name +
                   "' takes one alone; cat, svd and the methods that end in _svd take others"};
    double weight = each.weight * each.scale, root = std::sqrt(std::fabs(weight));
    downs.push_back(each.a);
    ups.push_back(each.b);
    left.push_back(weight < 0 ? -root : root);
    right.push_back(root);
  }
  a = mixed(std::move(downs), left);
  b = mixed(std::move(ups), right);
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

void Combiner::add(const std::string &module, const Update &update, const RowMajor &a, const RowMajor &b) {
  std::vector<int64_t> down = update.tensors.at("A").shape, up = update.tensors.at("B").shape;
  down[0] = up[1] = a.rows();
  bool isTable = update.layer == Layer::Embedding;
  const std::string key = "base_model.model." + module + (isTable ? ".lora_embedding_" : ".lora_"),
                    end = isTable ? "" : ".weight";
  tensors.push_back(tensorOf(a, std::move(down), key + "A" + end));
  tensors.push_back(tensorOf(b, std::move(up), key + "B" + end));
  ranks[module] = a.rows();
}

Status Combiner::combineModule(const std::string &module, const std::vector<Product> &products) {
  const Update &first = *products.front().update;
  RowMajor a, b;
  if (how.onFactors) {
    if (Status status = combineFactors(module, products, a, b); !status)
      return status;
  } else if (how.keepsAll) {
    Eigen::Index rank = 0, at = 0;
    for (const Product &each : products)
      rank += each.a.rows();
    a.resize(rank, products.front().a.cols());
    b.resize(products.front().b.rows(), rank);
    for (const Product &each : products) {
      a.middleRows(at, each.a.rows()) = each.weight * each.scale * each.a;
      b.middleCols(at, each.a.rows()) = each.b;
      at += each.a.rows();
    }
  } else {
    Values changes;
    std::vector<double> weights;
    int64_t rank = how.rank;
    for (const Product &each : products) {
      changes.push_back(each.scale * each.b * each.a);
      weights.push_back(each.weight);
      if (!how.rank)
        rank = std::max<int64_t>(rank, each.a.rows());
    }
    RowMajor sum = mixed(std::move(changes), weights);
    std::vector<double> values(sum.data(), sum.data() + sum.size());
    Result<Factors> factors = factorise(values, sum.rows(), sum.cols(), rank);
    if (!factors)
      return Error{"module '" + module + "': " + factors.error().message};
    a = Eigen::Map<const RowMajor>(factors->a.data(), factors->rank, sum.cols());
    b = Eigen::Map<const RowMajor>(factors->b.data(), sum.rows(), factors->rank);
  }
  add(module, first, a, b);
  return Done{};
}

Result<Combined> Combiner::run(const std::vector<Part> &parts, const std::string &folder) {
  std::vector<Adapter> adapters;
  adapters.reserve(parts.size());
  for (const Part &part : parts) {
    Result<Adapter> adapter = readAdapter(part.path);
    if (!adapter)
      return adapter.error();
    adapters.push_back(std::move(*adapter));
    if (Status status = take(part, adapters.back()); !status)
      return status.error();
  }
  for (const auto &[module, products] : modules)
    if (Status status = combineModule(module, products); !status)
      return status.error();
  for (const Tensor &tensor : tensors)
    for (int64_t i = 0; i < tensor.elements(); ++i)
      if (!std::isfinite(reinterpret_cast<const float *>(tensor.data)[i]))
        return Error{"'" + tensor.key + "' would hold a number that is not finite"};
  Json config = {{"peft_type", "LORA"},
                 {"base_model_name_or_path", adapters.front().baseModel},
                 {"bias", "none"},
                 {"fan_in_fan_out", anyTransposed},
                 {"inference_mode", true}};
  addRanks(config, ranks);
  if (Status status = writeAdapter(folder, tensors, config); !status)
    return status.error();
  Combined made{static_cast<int64_t>(ranks.size()), 0};
  for (const auto &[module, rank] : ranks)
    made.rank = std::max(made.rank, rank);
  return made;
}

Result<Combined> combine(const Combination &how, const std::vector<Part> &parts, const std::string &folder) {
  return Combiner(how).run(parts, folder);
}

} // namespace adapter::diff
