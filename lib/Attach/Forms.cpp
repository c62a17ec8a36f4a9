// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The ops for each form, and updates that change nothing.
#include "lib/Attach/Forms.h"
#include "lib/Attach/FormShapes.h"
#include "lib/Attach/FormUse.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <algorithm>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Tensor;
using checkpoint::Update;

//===----------------------------------------------------------------------===//
// Contents
//===----------------------------------------------------------------------===//

// Compares a with b, or with b's transpose.
static bool sameContents(const Tensor &a, const Tensor &b, bool transposed) {
  if (a.dtype != b.dtype || a.bytes != b.bytes)
    return false;
  if (!transposed)
    return std::memcmp(a.data, b.data, a.bytes) == 0;
  if (a.shape.size() != 2 || exchanged(a.shape) != b.shape)
    return false;
  size_t rows = a.shape[0], columns = a.shape[1], size = a.bytes / (rows * columns);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j)
      if (std::memcmp(a.data + (i * columns + j) * size, b.data + (j * rows + i) * size, size))
        return false;
  return true;
}

static const Tensor *contentsOf(ModuleParameter parameter) {
  if (!parameter.value)
    return nullptr;
  ParameterStore &store = ParameterStore::get(parameter.value.getContext());
  return store.lookup(parameter.value.getScope(), parameter.value.getKey());
}

bool adapter::changesNothing(const Update &update, const ModuleParameter &parameter) {
  const Tensor *contents = contentsOf(parameter);
  if (update.form != "replace" || !contents)
    return false;
  const Tensor &value = tensorOf(update, "value");
  bool matrix = parameter.kind == SiteKind::Linear || parameter.kind == SiteKind::Embedding;
  return sameContents(value, *contents,
                      matrix && isWholeTransposed(value, parameter) != parameter.transposed);
}

bool adapter::holdSameNumbers(const ModuleParameter &first, const ModuleParameter &second) {
  auto isMatrix = [](const ModuleParameter &each) {
    return each.value && (each.kind == SiteKind::Embedding || each.kind == SiteKind::Linear);
  };
  if (!isMatrix(first) || !isMatrix(second) || first.shape != second.shape)
    return false;
  if (first.value == second.value)
    return first.transposed == second.transposed;
  const Tensor *a = contentsOf(first), *b = contentsOf(second);
  return a && b && sameContents(*a, *b, first.transposed != second.transposed);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

std::string adapter::tensorKey(const Update &update, StringRef role) {
  return update.module + "." + update.parameter + "." + update.form + "." + role.str();
}

namespace {
class FormBuilder {
public:
  FormBuilder(ImplicitLocOpBuilder &b, const Update &update, const ModuleParameter &parameter,
              StringRef scope, double scale)
      : b(b), update(update), parameter(parameter), scope(scope), scale(scale),
        element(
            cast<RankedTensorType>(const_cast<ParameterOp &>(parameter.value).getType()).getElementType()) {}

  Value build(const ModuleParameter *weight);

private:
  // The tensor of a role, perhaps with its unit dimensions laid out otherwise.
  Value tensor(const char *role, std::optional<Shape> shape = std::nullopt);
  Value parameterOf(const std::string &key, Tensor tensor);
  Value vectorIndices(ArrayRef<int64_t> shape);
  UpdateType type(ArrayRef<int64_t> shape) {
    return UpdateType::get(b.getContext(), RankedTensorType::get(shape, element));
  }
  UpdateType graphType() { return updateTypeOf(const_cast<ParameterOp &>(parameter.value).getType()); }
  Value scaled(Value source);
  Value inLayout(Value source, bool sourceTransposed);
  // Of masked modules the tensor that they are mixed to.
  Value mixed(const std::string &role);
  Value buildLowRank();

  ImplicitLocOpBuilder &b;
  const Update &update;
  const ModuleParameter &parameter;
  StringRef scope;
  double scale;
  Type element;
};
} // namespace

Value FormBuilder::tensor(const char *role, std::optional<Shape> shape) {
  Tensor tensor = tensorOf(update, role);
  if (shape)
    tensor.shape = *shape;
  return parameterOf(tensorKey(update, role), std::move(tensor));
}

Value FormBuilder::parameterOf(const std::string &key, Tensor tensor) {
  auto type = RankedTensorType::get(tensor.shape, elementTypeOf(tensor.dtype, b.getContext()));
  std::string bound = ParameterStore::get(b.getContext()).add(scope, key, std::move(tensor));
  return ParameterOp::create(b, type, b.getStringAttr(scope), b.getStringAttr(bound), ElementsAttr(),
                             StringAttr());
}

// Coordinates in a tensor of one dimension that is not 1.
Value FormBuilder::vectorIndices(ArrayRef<int64_t> shape) {
  const Tensor &plain = tensorOf(update, "indices");
  int64_t rank = shape.size(), count = plain.shape[1];
  if (plain.shape[0] == rank)
    return tensor("indices");
  int64_t along = std::max_element(shape.begin(), shape.end()) - shape.begin();
  Tensor indices = checkpoint::allocateTensor(plain.dtype, {rank, count});
  indices.key = plain.key;
  std::memcpy(checkpoint::mutableData(indices) + along * plain.bytes, plain.data, plain.bytes);
  return parameterOf(tensorKey(update, "indices"), std::move(indices));
}

Value FormBuilder::scaled(Value source) {
  double factor = update.scale * scale;
  if (factor == 1.0)
    return source;
  Value constant = arith::ConstantOp::create(b, b.getF64FloatAttr(factor));
  return ScaleOp::create(b, source.getType(), source, constant);
}

// From [out, in] (or [in, out]) to what the graph has.
Value FormBuilder::inLayout(Value source, bool sourceTransposed) {
  if (sourceTransposed == parameter.transposed)
    return source;
  return TransposeOp::create(b, graphType(), source, ArrayRef<int64_t>{1, 0});
}

// The last dimensions of a convolution's B are 1.
static Shape matrixOf(const Tensor &b) { return {b.shape[0], b.shape[1]}; }

Value FormBuilder::mixed(const std::string &role) {
  SmallVector<Value> factors, masks;
  for (int i = 0; i < mixtureOf(update); ++i) {
    factors.push_back(tensor((role + "." + std::to_string(i)).c_str()));
    masks.push_back(tensor(("mask." + std::to_string(i)).c_str()));
  }
  std::string form = update.form;
  return MaskMixOp::create(b, factors.front().getType(),
                           *symbolizeMaskMixMode(checkpoint::takeMixture(form)->mode), factors, masks,
                           /*disjoint=*/true);
}

Value FormBuilder::buildLowRank() {
  bool embedding = isOfForm(update, "lora_embedding");
  Value up = mixtureOf(update) ? mixed("B") : tensor("B", matrixOf(tensorOf(update, "B"))),
        down = tensor("A");
  SmallVector<int64_t> product(parameter.shape);
  if (embedding)
    std::swap(product[0], product[1]);
  Value result = scaled(LowRankOp::create(b, type(product), down, up, Value()));
  if (update.tensors.count("magnitude"))
    result = MagnitudeOp::create(b, result.getType(), result, tensor("magnitude"), 0);
  return inLayout(result, embedding);
}

Value FormBuilder::build(const ModuleParameter *weight) {
  if (FormOp form = definitionOf(update, parameter))
    return buildApply(b, form, update, parameter, weight, scale, [&](StringRef role, Tensor contents) {
      return parameterOf(tensorKey(update, role), std::move(contents));
    });
  if (update.form == "rows") {
    Value sparse = SparseOp::create(b, type(parameter.shape), SparseMode::Overwrite, SparseSupport::Rows,
                                    tensor("indices"), tensor("rows"));
    return inLayout(sparse, false);
  }
  if (StringRef(update.form).starts_with("sparse")) {
    SparseMode mode = update.form == "sparse" ? SparseMode::Add : SparseMode::Overwrite;
    // Exporters give vectors unit dimensions.
    bool vector = parameter.kind == SiteKind::Vector;
    ArrayRef<int64_t> inGraph = graphType().getWeight().getShape();
    Shape shape = vector ? Shape(inGraph.begin(), inGraph.end()) : storedShape(parameter);
    Value indices = vector ? vectorIndices(inGraph) : tensor("indices"), values = tensor("values");
    Value sparse = SparseOp::create(b, type(shape), mode, SparseSupport::Coordinates, indices, values);
    sparse = scaled(sparse);
    return vector ? sparse : inLayout(sparse, parameter.storedTransposed);
  }
  if (update.form != "add" && update.form != "replace")
    return buildLowRank();
  const Tensor &value = tensorOf(update, "value");
  ArrayRef<int64_t> graphShape = graphType().getWeight().getShape();
  bool vector = parameter.kind == SiteKind::Vector;
  Shape shape = vector ? Shape(graphShape.begin(), graphShape.end()) : value.shape;
  Value whole = tensor("value", shape);
  Value result = update.form == "add" ? scaled(DenseOp::create(b, type(shape), whole))
                                      : ReplaceOp::create(b, type(shape), whole).getUpdate();
  bool matrix = parameter.kind == SiteKind::Linear || parameter.kind == SiteKind::Embedding;
  return matrix ? inLayout(result, isWholeTransposed(value, parameter)) : result;
}

Value adapter::buildUpdate(ImplicitLocOpBuilder &builder, const Update &update,
                           const ModuleParameter &parameter, StringRef scope, double scale,
                           const ModuleParameter *weight) {
  return FormBuilder(builder, update, parameter, scope, scale).build(weight);
}
