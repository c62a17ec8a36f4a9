// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading what is to be combined: plain products by their factors, all else by what a model says that it changes.
#include "lib/Checkpoint/DType.h"
#include "lib/Diff/CombineMethods.h"
#include <algorithm>

namespace adapter::diff {

using namespace checkpoint;

namespace {

class Gatherer {
public:
  Gatherer(const Method &method, const std::vector<Part> &parts, Changes *changes)
      : method(method), parts(parts), changes(changes) {}
  Status read(size_t part);

  Gathered all;

private:
  Status take(size_t part, const Update &update);
  Status take(size_t part, const WeightChange &change);
  Status add(const Place &place, Product product);

  const Method &method;
  const std::vector<Part> &parts;
  Changes *changes;
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
  bool isOwn = update.form == (isMiddle ? "lora_sb" : "lora") && tensors.size() == (isMiddle ? 3 : 2);
  if (!isOwn)
    return isMiddle ? "has no R between A and B (lora_sb), of which the method makes the mean"
                    : "is no plain LoRA (" + update.formText() + ")";
  if (update.parameter != "weight")
    return "changes its " + update.parameter + ", which no factors of a LoRA hold";
  if (update.masked || update.tasks || update.taken)
    return "takes more than its factors";
  if (update.flattened || !update.part.empty())
    return "is named in the way of kohya or diffusers, which a folder of PEFT cannot hold";
  return update.tied ? "follows a tied table (ensure_weight_tying)" : "";
}

Status Gatherer::read(size_t part) {
  const std::string &path = parts[part].path;
  Result<Adapter> adapter = readAdapter(path);
  if (!adapter)
    return adapter.error();
  if (adapter->own && !changes)
    return Error{path + ": it is of a form of its own, whose definition is not at hand here"};
  if (adapter->own)
    if (Status status = changes->place(*adapter); !status)
      return status;
  if (all.baseModel.empty())
    all.baseModel = adapter->baseModel;
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
  Result<std::vector<WeightChange>> found = changes->of(path);
  if (!found)
    return found.error();
  for (WeightChange &change : *found) {
    if (Status status = take(part, change); !status)
      return Error{path + ": " + status.error().message};
    change = {}; // it may be as large as the model
  }
  return Done{};
}

Status Gatherer::take(size_t part, const WeightChange &change) {
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

Status Gatherer::take(size_t part, const Update &update) {
  const std::string &path = parts[part].path;
  std::map<std::string, RowMajor> matrices;
  Product product{part, parts[part].weight, update.scale};
  for (const auto &[role, tensor] : update.tensors) {
    Result<Tensor> wide = toF32(tensor);
    if (!wide)
      return Error{path + ": " + wide.error().message};
    if (tensor.shape.size() < 2 || !tensor.elements())
      return Error{path + ": '" + tensor.key + "' has shape " + shapeText(tensor.shape) +
                   " and is no matrix"};
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
  all.anyTransposed |= update.transposed;
  if (Status status = add({update.module, false}, std::move(product)); !status)
    return Error{path + ": " + status.error().message};
  return Done{};
}

Status Gatherer::add(const Place &place, Product product) {
  const std::string &module = place.first;
  std::vector<Product> &others = all.places[place];
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

Result<Gathered> gather(const Method &method, const std::vector<Part> &parts, Changes *changes) {
  Gatherer gatherer(method, parts, changes);
  for (size_t part = 0; part < parts.size(); ++part)
    if (Status status = gatherer.read(part); !status)
      return status.error();
  if (gatherer.all.places.empty())
    return Error{"the adapters change nothing that could be combined"};
  return std::move(gatherer.all);
}

} // namespace adapter::diff
