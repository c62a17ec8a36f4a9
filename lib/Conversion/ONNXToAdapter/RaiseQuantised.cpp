// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-raise-quantised: weights that a graph holds as integers become parameters, and the operators that multiply or
// look up by such integers ONNX's own MatMul and Gather. What stays of the integers is said beside the parameter.
#include "lib/Attach/ModuleTable.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Conversion/ONNXToAdapter/QuantisedSources.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_RAISEQUANTISEDPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using checkpoint::Result;
using checkpoint::Tensor;

static constexpr StringRef runtimeDomain = "com.microsoft";

// What tools put behind the name of a weight that they quantised.
static std::string nameOfWeight(StringRef key) {
  for (StringRef suffix : {"_DQ_Q4", "_DQ_Q8", "_Q4", "_Q8", "_quantized", "_quant"})
    if (key.consume_back(suffix))
      return key.str();
  for (StringRef suffix : {".qweight", ".weight_quantized"})
    if (key.consume_back(suffix))
      return key.str() + ".weight";
  return key.str();
}

namespace {
class GraphRaising {
public:
  GraphRaising(Block &block) : block(block) {}

  LogicalResult run() {
    for (onnxir::NodeOp node : llvm::to_vector(block.getOps<onnxir::NodeOp>())) {
      StringRef type = node.getOpType();
      LogicalResult raised = success();
      if (node.getDomain() == runtimeDomain && type == "MatMulNBits")
        raised = raiseProduct(node);
      else if (node.getDomain() == runtimeDomain && type == "GatherBlockQuantized")
        raised = raiseGather(node);
      else if (type == "DequantizeLinear" && (node.getDomain().empty() || node.getDomain() == runtimeDomain))
        raised = raiseDequantize(node);
      if (failed(raised))
        return failure();
    }
    for (onnxir::NodeOp node : unread)
      node->erase();
    return success();
  }

  int64_t raised = 0, whole = 0;

private:
  ParameterOp parameter(onnxir::NodeOp node, ParameterOp codes, const Quantised &matrix, bool transposed);
  ParameterOp floats(onnxir::NodeOp node, ParameterOp codes, Tensor tensor);
  onnxir::NodeOp replaceBy(onnxir::NodeOp node, StringRef type, ValueRange inputs, StringRef name,
                           Type result, NamedAttrList attributes = {});
  Value cast(onnxir::NodeOp near, Value value, Type element);
  LogicalResult raiseProduct(onnxir::NodeOp node);
  LogicalResult raiseGather(onnxir::NodeOp node);
  LogicalResult raiseDequantize(onnxir::NodeOp node);

  Block &block;
  SmallVector<onnxir::NodeOp> unread;
};
} // namespace

// A key that no other parameter of the graph has.
static std::string freeKey(Block &block, ParameterOp codes) {
  std::string wanted = nameOfWeight(codes.getKey());
  bool isTaken = llvm::any_of(block.getOps<ParameterOp>(), [&](ParameterOp each) {
    return each.getKey() == wanted && each.getScope() == codes.getScope() &&
           !each->hasAttr(quantisedAttribute);
  });
  return isTaken ? codes.getKey().str() + ".dequantised" : wanted;
}

// Stands before the node; its type is that of the matrix, transposed where that is asked for.
ParameterOp GraphRaising::parameter(onnxir::NodeOp node, ParameterOp codes, const Quantised &matrix,
                                    bool transposed) {
  ++raised;
  OpBuilder builder(codes);
  MLIRContext *context = builder.getContext();
  ParameterStore &store = ParameterStore::get(context);
  std::string key = freeKey(block, codes);
  NamedAttrList parts;
  auto keep = [&](StringRef name, const Tensor &tensor) {
    if (!tensor.data)
      return;
    std::string place = store.add(quantisedScope, key + "." + name.str(), tensor);
    auto type = RankedTensorType::get(tensor.shape, elementTypeOf(tensor.dtype, context));
    parts.set(name,
              onnxir::TensorAttr::get(context, quantisedScope, place, type, ElementsAttr(), StringAttr()));
  };
  keep("codes", matrix.codes);
  keep("scales", matrix.scales);
  keep("zeros", matrix.zeros);
  parts.set("block", builder.getI64IntegerAttr(matrix.block));
  auto number = matrix.bits == 4 ? kernel::NumberFormat::Int4 : kernel::NumberFormat::Int8;
  parts.set("format", kernel::FormatAttr::get(context, number, matrix.group == 32 ? 0 : matrix.group,
                                              matrix.wideScales, matrix.zeros.data != nullptr));
  if (transposed)
    parts.set("transposed", builder.getUnitAttr());
  SmallVector<int64_t> shape{matrix.rows, matrix.columns};
  if (transposed)
    std::swap(shape[0], shape[1]);
  auto made =
      ParameterOp::create(builder, codes.getLoc(), RankedTensorType::get(shape, builder.getF32Type()),
                          codes.getScopeAttr(), builder.getStringAttr(key), ElementsAttr(), StringAttr());
  made->setAttr(quantisedAttribute, parts.getDictionary(context));
  return made;
}

// A tensor of floats in the place of integers that no product takes.
ParameterOp GraphRaising::floats(onnxir::NodeOp node, ParameterOp codes, Tensor tensor) {
  ++whole;
  OpBuilder builder(codes);
  Type element = elementTypeOf(tensor.dtype, builder.getContext());
  auto type = RankedTensorType::get(tensor.shape, element);
  std::string key = freeKey(block, codes);
  ParameterStore &store = ParameterStore::get(builder.getContext());
  key = store.addNew(codes.getScope(), key, std::move(tensor));
  return ParameterOp::create(builder, codes.getLoc(), type, codes.getScopeAttr(), builder.getStringAttr(key),
                             ElementsAttr(), StringAttr());
}

// A node of another operator with the node's name and metadata, whose first result is called `name`.
onnxir::NodeOp GraphRaising::replaceBy(onnxir::NodeOp node, StringRef type, ValueRange inputs, StringRef name,
                                       Type result, NamedAttrList attributes) {
  OpBuilder builder(node);
  OperationState state(node.getLoc(), onnxir::NodeOp::getOperationName());
  state.addOperands(inputs);
  state.addTypes(result);
  state.addAttribute("op_type", builder.getStringAttr(type));
  if (!attributes.empty())
    state.addAttribute("node_attributes", attributes.getDictionary(builder.getContext()));
  state.addAttribute("result_names", builder.getStrArrayAttr({name}));
  if (node.getNodeNameAttr())
    state.addAttribute("node_name", type == node.getOpType() || type == "MatMul" || type == "Gather"
                                        ? node.getNodeNameAttr()
                                        : builder.getStringAttr(*node.getNodeName() + "_" + type));
  if (node.getMetadataAttr())
    state.addAttribute("metadata", node.getMetadataAttr());
  return llvm::cast<onnxir::NodeOp>(builder.create(state));
}

static Type withElement(Type type, Type element) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  return tensor ? Type(RankedTensorType::get(tensor.getShape(), element, tensor.getEncoding())) : type;
}

Value GraphRaising::cast(onnxir::NodeOp near, Value value, Type element) {
  auto type = dyn_cast<TensorType>(value.getType());
  if (!type || type.getElementType() == element)
    return value;
  NamedAttrList attributes;
  Builder builder(near.getContext());
  attributes.set("to", builder.getI64IntegerAttr(static_cast<int64_t>(dtypeOf(element))));
  std::string name = nodeNameOf(near) + "_f32_" + std::to_string(block.getOperations().size());
  return replaceBy(near, "Cast", value, name, withElement(type, element), attributes)->getResult(0);
}

//===----------------------------------------------------------------------===//
// com.microsoft's operators
//===----------------------------------------------------------------------===//

LogicalResult GraphRaising::raiseProduct(onnxir::NodeOp node) {
  NodeSource source(node);
  if (!source.has(0))
    return node.emitError(source.describe() + ": has nothing to multiply");
  Result<Quantised> matrix = readMatMulNBits(source);
  if (!matrix)
    return node.emitError(source.describe() + ": " + matrix.error().message);
  ParameterOp weight = parameter(node, source.parameter(1), *matrix, /*transposed=*/true);
  Type single = Float32Type::get(node.getContext()), result = node->getResult(0).getType();
  Value x = node.getInputs().front(), bias = node.getInputOrNull(5);
  auto given = dyn_cast<TensorType>(x.getType());
  Type element = given ? given.getElementType() : single;
  StringRef name = llvm::cast<StringAttr>(node.getResultNames()[0]).getValue();
  // Names of values are unique: the last node gets the result's.
  std::string inner = name.str() + "_product";
  bool isNarrow = element != single;
  Type type = withElement(result, single);
  Value made =
      replaceBy(node, "MatMul", {cast(node, x, single), weight}, bias || isNarrow ? inner : name.str(), type)
          ->getResult(0);
  if (bias)
    made = replaceBy(node, "Add", {made, cast(node, bias, single)}, isNarrow ? inner + "_biased" : name.str(),
                     type)
               ->getResult(0);
  if (isNarrow) {
    NamedAttrList attributes;
    attributes.set("to",
                   Builder(node.getContext()).getI64IntegerAttr(static_cast<int64_t>(dtypeOf(element))));
    made = replaceBy(node, "Cast", made, name, result, attributes)->getResult(0);
  }
  node->getResult(0).replaceAllUsesWith(made);
  node->erase();
  return success();
}

LogicalResult GraphRaising::raiseGather(onnxir::NodeOp node) {
  NodeSource source(node);
  if (!source.has(1))
    return node.emitError(source.describe() + ": has no indices");
  Result<Quantised> matrix = readGatherBlockQuantized(source);
  if (!matrix)
    return node.emitError(source.describe() + ": " + matrix.error().message);
  // Blocks lie along the rows of the table, or along its columns.
  bool transposed = source.axis("quantize_axis", 1, 2) == 0;
  ParameterOp table = parameter(node, source.parameter(0), *matrix, transposed);
  Type single = Float32Type::get(node.getContext()), result = node->getResult(0).getType();
  auto scales = llvm::cast<RankedTensorType>(source.parameter(2).getType());
  StringRef name = llvm::cast<StringAttr>(node.getResultNames()[0]).getValue();
  NamedAttrList attributes;
  Builder builder(node.getContext());
  attributes.set("axis", builder.getI64IntegerAttr(source.axis("gather_axis", 0, 2)));
  bool isNarrow = scales.getElementType() != single;
  Value made = replaceBy(node, "Gather", {table, node.getInputs()[1]},
                         isNarrow ? name.str() + "_f32" : name.str(), withElement(result, single), attributes)
                   ->getResult(0);
  if (isNarrow) {
    NamedAttrList to;
    to.set("to", builder.getI64IntegerAttr(static_cast<int64_t>(dtypeOf(scales.getElementType()))));
    made = replaceBy(node, "Cast", made, name, result, to)->getResult(0);
  }
  node->getResult(0).replaceAllUsesWith(made);
  node->erase();
  return success();
}

//===----------------------------------------------------------------------===//
// ONNX's DequantizeLinear
//===----------------------------------------------------------------------===//

static bool isTransposition(onnxir::NodeOp node) {
  auto permutation = dyn_cast_or_null<DenseI64ArrayAttr>(node.getNodeAttr("perm"));
  return node.getDomain().empty() && node.getOpType() == "Transpose" &&
         (!permutation || permutation.asArrayRef() == ArrayRef<int64_t>{1, 0});
}

// Whether products take the matrix's second dimension as their outputs.
static bool hasOutputsSecond(onnxir::NodeOp node) {
  for (OpOperand &use : node->getResult(0).getUses())
    if (auto reader = dyn_cast<onnxir::NodeOp>(use.getOwner())) {
      if (reader.getOpType() == "MatMul" && reader.getDomain().empty() && use.getOperandNumber() == 1)
        return true;
      if (reader.getOpType() == "Gemm" && use.getOperandNumber() == 1)
        return attributeOf(reader, "transB", 0) == 0;
    }
  return false;
}

LogicalResult GraphRaising::raiseDequantize(onnxir::NodeOp node) {
  NodeSource source(node);
  // Inputs that are not constants are activations.
  if (!source.parameter(0) || !source.parameter(1) || (node.getInputOrNull(2) && !source.parameter(2)))
    return success();
  Result<DequantizeLinear> read = readDequantizeLinear(source, hasOutputsSecond(node));
  if (!read)
    return node.emitError(source.describe() + ": " + read.error().message);
  ParameterOp codes = source.parameter(0);
  if (!read->matrix) {
    ParameterOp made = floats(node, codes, std::move(read->floats));
    node->getResult(0).replaceAllUsesWith(made.getResult());
    node->erase();
    return success();
  }
  ParameterOp straight, turned;
  for (OpOperand &use : llvm::make_early_inc_range(node->getResult(0).getUses())) {
    auto reader = dyn_cast<onnxir::NodeOp>(use.getOwner());
    if (reader && isTransposition(reader)) {
      if (!turned)
        turned = parameter(node, codes, *read->matrix, !read->transposed);
      reader->getResult(0).replaceAllUsesWith(turned.getResult());
      unread.push_back(reader);
      continue;
    }
    if (!straight)
      straight = parameter(node, codes, *read->matrix, read->transposed);
    use.set(straight.getResult());
  }
  // Transpositions of it go first.
  unread.push_back(node);
  return success();
}

namespace {
struct RaiseQuantisedPass final : adapter::impl::RaiseQuantisedPassBase<RaiseQuantisedPass> {
  using Base::Base;

  void runOnOperation() override {
    SmallVector<onnxir::GraphOp> graphs;
    getOperation()->walk([&](onnxir::GraphOp graph) { graphs.push_back(graph); });
    for (onnxir::GraphOp graph : graphs) {
      GraphRaising raising(graph.getBody().front());
      if (failed(raising.run()))
        return signalPassFailure();
      numRaised += raising.raised;
      numWhole += raising.whole;
      // Integers that nothing reads any more.
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(graph.getBody().front())))
        if (isa<ParameterOp>(op) && op.use_empty() && cast<ParameterOp>(op)->hasAttr(quantisedAttribute))
          op.erase();
    }
  }
};
} // namespace
