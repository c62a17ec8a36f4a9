// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shapes that fit, and the ops for each form. The orientation of a weight is the graph's operator's; what a
// checkpoint says of it is not used, see docs/exports.md.
#include "lib/Attach/Forms.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include <algorithm>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::shapeText;
using checkpoint::Tensor;
using checkpoint::Update;
using Shape = std::vector<int64_t>;

static const Tensor &tensorOf(const Update &update, const char *role) { return update.tensors.at(role); }

// How many modules B is mixed of; 0: it is one tensor.
static int mixtureOf(const Update &update) {
  std::string form = update.form;
  std::optional<checkpoint::Mixture> mixture = checkpoint::takeMixture(form);
  return mixture && form == "lora" ? mixture->count : 0;
}

static bool startsWith(const Update &update, StringRef form) {
  return update.form == form || update.form == (form + "+dora").str() ||
         (form == "lora" && mixtureOf(update));
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

static Shape exchanged(Shape shape) {
  if (shape.size() >= 2)
    std::swap(shape[0], shape[1]);
  return shape;
}

// Whether a whole tensor of a matrix is [in, out]. Its shape says so unless it is square.
static bool isWholeTransposed(const Tensor &value, const ModuleParameter &parameter) {
  Shape logical(parameter.shape.begin(), parameter.shape.end());
  if (parameter.kind != SiteKind::Linear || exchanged(logical) == logical)
    return parameter.storedTransposed;
  return value.shape != logical;
}

static std::string wrongShape(const Tensor &tensor, const std::string &expected,
                              const ModuleParameter &parameter) {
  Shape graph(parameter.shape.begin(), parameter.shape.end());
  return "'" + tensor.key + "' has shape " + shapeText(tensor.shape) + ", expected " + expected +
         " for the graph's " + stringifySiteKind(parameter.kind).str() + " of shape " + shapeText(graph) +
         " (" + parameter.nodeName() + ")";
}

static std::string whyWholeUnfit(const Update &update, const ModuleParameter &parameter) {
  const Tensor &value = tensorOf(update, "value");
  Shape logical(parameter.shape.begin(), parameter.shape.end());
  bool fits = parameter.kind == SiteKind::Vector ? value.elements() == logical[0]
              : parameter.kind == SiteKind::Linear
                  ? value.shape == logical || value.shape == exchanged(logical)
                  : value.shape == logical;
  return fits ? "" : wrongShape(value, shapeText(logical), parameter);
}

static std::string whyFactorsUnfit(const Update &update, const ModuleParameter &parameter) {
  bool embedding = startsWith(update, "lora_embedding"), convolution = startsWith(update, "lora_conv");
  SiteKind kind = embedding ? SiteKind::Embedding : convolution ? SiteKind::Convolution : SiteKind::Linear;
  if (parameter.kind != kind)
    return "its factors are for " + stringifySiteKind(kind).str() + "s, but the graph has a " +
           stringifySiteKind(parameter.kind).str() + " (" + parameter.nodeName() + ")";
  const Tensor &a = tensorOf(update, "A"), &b = tensorOf(update, mixtureOf(update) ? "B.0" : "B");
  // [out, in, ...] as the product of the factors has it.
  Shape product(parameter.shape.begin(), parameter.shape.end());
  if (embedding)
    product = exchanged(product);
  Shape wantA = product;
  wantA[0] = a.shape[0];
  if (a.shape != wantA)
    return wrongShape(a, shapeText(wantA), parameter);
  if (b.shape[0] != product[0])
    return wrongShape(b, shapeText({product[0], a.shape[0]}), parameter);
  return "";
}

static std::string whyRowsUnfit(const Update &update, const ModuleParameter &parameter) {
  const Tensor &rows = tensorOf(update, "rows"), &indices = tensorOf(update, "indices");
  if (parameter.kind != SiteKind::Embedding && parameter.kind != SiteKind::Linear)
    return "its rows are for an embedding, but the graph has a " + stringifySiteKind(parameter.kind).str();
  if (rows.shape.size() != 2 || rows.shape[1] != parameter.shape[1])
    return wrongShape(rows, shapeText({rows.shape[0], parameter.shape[1]}), parameter);
  for (int64_t i = 0; i < indices.elements(); ++i) {
    int64_t index;
    std::memcpy(&index, indices.data + i * sizeof(int64_t), sizeof(int64_t));
    if (index < 0 || index >= parameter.shape[0])
      return "it replaces row " + std::to_string(index) + ", but the graph's table (" + parameter.nodeName() +
             ") has " + std::to_string(parameter.shape[0]);
  }
  return "";
}

// The shape of the tensor in the framework's own layout.
static Shape storedShape(const ModuleParameter &parameter) {
  Shape shape(parameter.shape.begin(), parameter.shape.end());
  return parameter.storedTransposed ? exchanged(shape) : shape;
}

static std::string whySparseUnfit(const Update &update, const ModuleParameter &parameter) {
  const Tensor &indices = tensorOf(update, "indices"), &values = tensorOf(update, "values");
  Shape stored = storedShape(parameter);
  // Of a convolution, checkpoints would have to say how its dimensions are flattened.
  if (parameter.shape.size() != static_cast<size_t>(indices.shape[0]))
    return wrongShape(indices, "[" + std::to_string(parameter.shape.size()) + ", n]", parameter);
  // PEFT gives a layer as many elements as a LoRA of that rank would have.
  int64_t expected = 0;
  for (int64_t dim : parameter.shape)
    expected += update.density * dim;
  if (update.density && values.elements() != expected)
    return wrongShape(
        values, "[" + std::to_string(expected) + "] (r = " + std::to_string(update.density) + ")", parameter);
  const int64_t *index = reinterpret_cast<const int64_t *>(indices.data);
  for (int64_t i = 0, count = values.elements(); i < indices.elements(); ++i)
    if (index[i] >= stored[i / count])
      return "'" + indices.key + "' holds the index " + std::to_string(index[i]) + ", but the graph's " +
             stringifySiteKind(parameter.kind).str() + " (" + parameter.nodeName() + ") has " +
             std::to_string(stored[i / count]) + (i / count ? " columns" : " rows");
  return "";
}

// Whether a form reads or writes elements by their place in the checkpoint's tensor.
static bool dependsOnOrientation(StringRef form) { return form == "replace" || form.starts_with("sparse"); }

static bool isSquare(const ModuleParameter &parameter) {
  return parameter.kind == SiteKind::Linear && parameter.shape[0] == parameter.shape[1];
}

std::string adapter::whyUncertain(const Update &update, const ModuleParameter &parameter, Evidence evidence) {
  if (evidence == Evidence::Contents)
    return "";
  std::string node = " (" + parameter.nodeName() + ")";
  bool runs = !parameter.readByParent || update.form == "replace" || update.parameter == "out_proj.weight";
  if (!runs)
    return "the module above it multiplies by its weight itself" + node +
           ", so that this module does not run and what an adapter adds to its output has no effect; train "
           "the "
           "adapter on the module above";
  if (parameter.folded)
    return "a normalisation is folded into this " + stringifySiteKind(parameter.kind).str() + node +
           ", so the graph does not hold the tensor that the adapter acts on; export without folding (in "
           "training "
           "mode, or with do_constant_folding=False), or give the checkpoint, by which the folding can be "
           "told: "
           "--base CHECKPOINT";
  if (parameter.kind == SiteKind::Vector && !parameter.isStructural && parameter.naming == Naming::Made)
    return "the graph has a constant there" + node + " under a name that says nothing, '" +
           (parameter.value ? const_cast<ParameterOp &>(parameter.value).getKey().str() : "") +
           "': it may be the parameter or computed from it, as 1 + weight is; --base CHECKPOINT tells";
  if (dependsOnOrientation(update.form) && isSquare(parameter) && !parameter.orientationKnown)
    return "the graph multiplies by a square tensor under the parameter's own name" + node +
           ", which may be the parameter or its transpose; --base CHECKPOINT tells";
  return "";
}

std::string adapter::whyUnfit(const Update &update, const ModuleParameter &parameter) {
  for (const auto &[role, tensor] : update.tensors)
    if (role != "indices" && role.rfind("mask.", 0) != 0 && !checkpoint::isFloat(tensor.dtype))
      return "'" + tensor.key + "' is of type " + checkpoint::dtypeName(tensor.dtype) + ", not of floats";
  if (update.form == "add" || update.form == "replace")
    return whyWholeUnfit(update, parameter);
  if (update.form == "rows")
    return whyRowsUnfit(update, parameter);
  if (StringRef(update.form).starts_with("sparse"))
    return whySparseUnfit(update, parameter);
  if (startsWith(update, "lora") || startsWith(update, "lora_conv") || startsWith(update, "lora_embedding"))
    return whyFactorsUnfit(update, parameter);
  return "the form '" + update.form + "' is not supported";
}

bool adapter::hasRoom(StringRef form, const ModuleParameter &parameter) {
  Update probe;
  probe.form = form.str();
  if (!whyUncertain(probe, parameter, parameter.evidence).empty())
    return false;
  bool sparse = form.starts_with("sparse");
  switch (parameter.kind) {
  case SiteKind::Linear:
    return form == "lora" || form == "lora+dora" || form == "rows" || form == "replace" || sparse;
  case SiteKind::Embedding:
    return sparse || form == "lora_embedding" || form == "lora_embedding+dora" || form == "rows" ||
           form == "replace";
  case SiteKind::Vector:
    // Checkpoints add to biases only; room at every norm would cost something in each call.
    return form == "replace" || (form == "add" && parameter.parameter == "bias");
  case SiteKind::Convolution:
    return !parameter.grouped() && (form == "lora" || form == "lora+dora" || form == "replace");
  }
  return false;
}

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

bool adapter::holdSameNumbers(const ModuleParameter &table, const ModuleParameter &weight) {
  if (table.kind != SiteKind::Embedding || weight.kind != SiteKind::Linear || table.shape != weight.shape)
    return false;
  if (table.value == weight.value)
    return table.transposed == weight.transposed;
  const Tensor *a = contentsOf(table), *b = contentsOf(weight);
  return a && b && sameContents(*a, *b, table.transposed != weight.transposed);
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

  Value build();

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
  bool embedding = startsWith(update, "lora_embedding");
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

Value FormBuilder::build() {
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
                           const ModuleParameter &parameter, StringRef scope, double scale) {
  return FormBuilder(builder, update, parameter, scope, scale).build();
}
