// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether an update fits a parameter: shapes, and evidence enough that it is the parameter. The orientation of a weight
// is the graph's operator's; what a checkpoint says of it is not used, see docs/exports.md.
#include "lib/Attach/FormShapes.h"
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Checkpoint/Bottleneck.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Result;
using checkpoint::shapeText;
using checkpoint::Tensor;
using checkpoint::Update;

int adapter::mixtureOf(const Update &update) {
  std::string form = update.form;
  std::optional<checkpoint::Mixture> mixture = checkpoint::takeMixture(form);
  return mixture && form == "lora" ? mixture->count : 0;
}

bool adapter::isOfForm(const Update &update, StringRef form) {
  return update.form == form || update.form == (form + "+dora").str() ||
         (form == "lora" && mixtureOf(update));
}

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

Shape adapter::exchanged(Shape shape) {
  if (shape.size() >= 2)
    std::swap(shape[0], shape[1]);
  return shape;
}

bool adapter::isWholeTransposed(const Tensor &value, const ModuleParameter &parameter) {
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

// Vectors stand in graphs with unit dimensions, and so do tensors of more dimensions that no operator explains.
static bool fitsVector(const Tensor &value, const ModuleParameter &parameter) {
  auto withoutUnits = [](ArrayRef<int64_t> shape) {
    Shape result;
    llvm::copy_if(shape, std::back_inserter(result), [](int64_t size) { return size != 1; });
    return result;
  };
  if (!parameter.value)
    return value.elements() == parameter.shape[0];
  ParameterOp stored = parameter.value;
  return withoutUnits(value.shape) == withoutUnits(cast<RankedTensorType>(stored.getType()).getShape());
}

static std::string whyWholeUnfit(const Update &update, const ModuleParameter &parameter) {
  const Tensor &value = tensorOf(update, "value");
  Shape logical(parameter.shape.begin(), parameter.shape.end());
  bool fits = parameter.kind == SiteKind::Vector ? fitsVector(value, parameter)
              : parameter.kind == SiteKind::Linear
                  ? value.shape == logical || value.shape == exchanged(logical)
                  : value.shape == logical;
  return fits ? "" : wrongShape(value, shapeText(logical), parameter);
}

static std::string whyFactorsUnfit(const Update &update, const ModuleParameter &parameter) {
  bool embedding = isOfForm(update, "lora_embedding"), convolution = isOfForm(update, "lora_conv");
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

Shape adapter::storedShape(const ModuleParameter &parameter) {
  Shape shape(parameter.shape.begin(), parameter.shape.end());
  return parameter.storedTransposed ? exchanged(shape) : shape;
}

// The shape that coordinates are of: a vector's alone, or with the unit dimensions that it has in the graph; another
// tensor's as the checkpoint has it.
static Shape coordinateShape(const Tensor &indices, const ModuleParameter &parameter) {
  ParameterOp value = parameter.value;
  if (parameter.kind != SiteKind::Vector || !value)
    return storedShape(parameter);
  ArrayRef<int64_t> inGraph = cast<RankedTensorType>(value.getType()).getShape();
  bool isFlat = llvm::count_if(inGraph, [](int64_t size) { return size != 1; }) <= 1;
  return indices.shape[0] == 1 && isFlat ? storedShape(parameter) : Shape(inGraph.begin(), inGraph.end());
}

static std::string whySparseUnfit(const Update &update, const ModuleParameter &parameter) {
  const Tensor &indices = tensorOf(update, "indices"), &values = tensorOf(update, "values");
  Shape stored = coordinateShape(indices, parameter);
  // Of a convolution, checkpoints would have to say how its dimensions are flattened.
  if (stored.size() != static_cast<size_t>(indices.shape[0]))
    return wrongShape(indices, "[" + std::to_string(stored.size()) + ", n]", parameter);
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

// Whether nothing but evidence tells a tensor from its transpose.
static bool isSquare(const ModuleParameter &parameter) {
  if (parameter.kind == SiteKind::Linear)
    return parameter.shape[0] == parameter.shape[1] && !parameter.orientationKnown;
  ParameterOp value = parameter.value;
  auto type = value ? cast<RankedTensorType>(value.getType()) : RankedTensorType();
  return parameter.kind == SiteKind::Vector && type && type.getRank() == 2 &&
         type.getDimSize(0) == type.getDimSize(1) && type.getDimSize(0) > 1;
}

// Whether a constant of as many numbers as a product has outputs is added to its result.
static bool meetsConstant(const ModuleParameter &bias) {
  SmallVector<Value> work;
  for (const ParameterUse &use : bias.uses)
    work.push_back(onnxir::NodeOp(use.node)->getResult(0));
  while (!work.empty())
    for (OpOperand &use : work.pop_back_val().getUses()) {
      auto node = dyn_cast<onnxir::NodeOp>(use.getOwner());
      if (!node)
        continue;
      if (onlyRearranges(node)) {
        work.push_back(node->getResult(0));
        continue;
      }
      bool adds = node.getOpType() == "Add" || node.getOpType() == "Sub" || node.getOpType() == "Sum";
      for (Value other : node.getInputs()) {
        Operation *source = other.getDefiningOp();
        auto type = dyn_cast<RankedTensorType>(other.getType());
        auto constant = dyn_cast_or_null<onnxir::NodeOp>(source);
        bool isConstant = isa_and_nonnull<ParameterOp, MaterializeOp>(source) ||
                          (constant && constant.getOpType() == "Constant");
        if (adds && isConstant && type && type.hasStaticShape() && type.getNumElements() == bias.shape[0])
          return true;
      }
    }
  return false;
}

std::string adapter::whyUncertain(const Update &update, const ModuleParameter &parameter, Evidence evidence) {
  if (evidence == Evidence::Contents)
    return "";
  std::string node = " (" + parameter.nodeName() + ")";
  if (parameter.isScaled)
    return "its operator multiplies by a number beside it" + node +
           ", which may be a part of the parameter or not; --base CHECKPOINT tells";
  if (!parameter.value && update.form == "replace" && meetsConstant(parameter))
    return "the graph adds a constant behind this product" + node +
           " that may be the bias, in a node that does not say so; --base CHECKPOINT tells";
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
  if (dependsOnOrientation(update.form) && isSquare(parameter))
    return "the graph multiplies by a square tensor under the parameter's own name" + node +
           ", which may be the parameter or its transpose; --base CHECKPOINT tells";
  return "";
}

std::string adapter::whyUnfit(const Update &update, const ModuleParameter &parameter) {
  FormOp form = definitionOf(update, parameter);
  // What a definition asks for, it says itself.
  for (const auto &[role, tensor] : update.tensors)
    if (!form && role != "indices" && role.rfind("mask.", 0) != 0 && !checkpoint::isFloat(tensor.dtype))
      return "'" + tensor.key + "' is of type " + checkpoint::dtypeName(tensor.dtype) + ", not of floats";
  if (update.ofBias)
    return parameter.kind == SiteKind::Vector
               ? ""
               : "the form '" + update.form + "' makes a bias, but the graph has a " +
                     stringifySiteKind(parameter.kind).str();
  if (form)
    return whyFormUnfit(form, update, parameter);
  if (update.form == "add" || update.form == "replace")
    return whyWholeUnfit(update, parameter);
  if (update.form == "rows")
    return whyRowsUnfit(update, parameter);
  if (StringRef(update.form).starts_with("sparse"))
    return whySparseUnfit(update, parameter);
  if (isOfForm(update, "lora") || isOfForm(update, "lora_conv") || isOfForm(update, "lora_embedding"))
    return whyFactorsUnfit(update, parameter);
  return "the form '" + update.form + "' is not supported";
}

bool adapter::hasRoom(StringRef form, const ModuleParameter &parameter) {
  Update probe;
  probe.form = form.str();
  if (!whyUncertain(probe, parameter, parameter.evidence).empty())
    return false;
  if (hasRoomFor(form, parameter))
    return true;
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
