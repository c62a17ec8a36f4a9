// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whether an update fits a parameter: shapes, and evidence enough that it is the parameter. The orientation of a weight
// is the graph's operator's; what a checkpoint says of it is not used, see docs/exports.md.
#include "lib/Attach/FormUse.h"
#include "lib/Attach/Forms.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Result;
using checkpoint::shapeText;
using checkpoint::Status;
using checkpoint::Tensor;
using checkpoint::Update;
using Shape = std::vector<int64_t>;

//===----------------------------------------------------------------------===//
// Shapes
//===----------------------------------------------------------------------===//

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

// PEFT gives a layer as many elements as a LoRA of that rank would have.
static std::string whyOtherCount(const Update &update, const FormTraits &traits,
                                 const ModuleParameter &parameter) {
  int64_t expected = 0;
  for (int64_t dim : parameter.shape)
    expected += update.density * dim;
  auto values = update.tensors.find(traits.elements);
  if (!update.density || values == update.tensors.end() || values->second.elements() == expected)
    return "";
  return wrongShape(values->second,
                    "[" + std::to_string(expected) + "] (r = " + std::to_string(update.density) + ")",
                    parameter);
}

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

std::string adapter::whyUncertain(const FormTraits &traits, StringRef name, const ModuleParameter &parameter,
                                  Evidence evidence) {
  if (evidence == Evidence::Contents)
    return "";
  std::string node = " (" + parameter.nodeName() + ")";
  if (parameter.isScaled)
    return "its operator multiplies by a number beside it" + node +
           ", which may be a part of the parameter or not; --base CHECKPOINT tells";
  if (!parameter.value && traits.replaces && meetsConstant(parameter))
    return "the graph adds a constant behind this product" + node +
           " that may be the bias, in a node that does not say so; --base CHECKPOINT tells";
  bool runs = !parameter.readByParent || traits.replaces || name == "out_proj.weight";
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
  if (traits.hasPlaces && isSquare(parameter))
    return "the graph multiplies by a square tensor under the parameter's own name" + node +
           ", which may be the parameter or its transpose; --base CHECKPOINT tells";
  return "";
}

std::string adapter::whyUnfit(const Update &update, const ModuleParameter &parameter) {
  if (update.ofBias)
    return parameter.kind == SiteKind::Vector
               ? ""
               : "the form '" + update.formText() + "' makes a bias, but the graph has a " +
                     stringifySiteKind(parameter.kind).str();
  FormOp form = definitionOf(update, parameter);
  if (!form)
    return "there is no form '" + update.formText() + "'";
  bool isTable = parameter.kind == SiteKind::Embedding;
  if (update.layer != checkpoint::Layer::Any && isTable != (update.layer == checkpoint::Layer::Embedding))
    return std::string("its tensors are for ") + (isTable ? "a linear" : "an embedding") +
           ", but the graph has a " + stringifySiteKind(parameter.kind).str() + " (" + parameter.nodeName() +
           ")";
  FormTraits traits = traitsOf(update, parameter);
  auto value = update.tensors.find(traits.elements);
  if (traits.isWhole() && parameter.kind == SiteKind::Vector && value != update.tensors.end() &&
      !fitsVector(value->second, parameter))
    return wrongShape(value->second, shapeText({parameter.shape.begin(), parameter.shape.end()}), parameter);
  if (std::string why = whyFormUnfit(form, update, parameter); !why.empty())
    return why;
  return whyOtherCount(update, traits, parameter);
}

// Room costs each call: there is none where few adapters would use it and nobody asked for it. Of forms for vectors and
// matrices alike, checkpoints add whole values to biases only, and change elements of matrices.
static bool isWorthRoom(FormOp form, const FormTraits &traits, const ModuleParameter &parameter) {
  bool isForBoth = form.getKinds().size() > 1 && form.getSignature().actsOn("vector");
  if (!isForBoth || traits.elements.empty() || traits.replaces)
    return true;
  bool isVector = parameter.kind == SiteKind::Vector;
  return traits.isWhole() ? isVector && parameter.parameter == "bias" : !isVector;
}

bool adapter::hasRoom(StringRef form, const ModuleParameter &parameter) {
  FormOp definition = definitionAt(form, parameter);
  if (!definition || (parameter.kind == SiteKind::Convolution && parameter.grouped()))
    return false;
  FormTraits traits = traitsAt(form, parameter);
  return whyUncertain(traits, "", parameter, parameter.evidence).empty() &&
         isWorthRoom(definition, traits, parameter);
}
