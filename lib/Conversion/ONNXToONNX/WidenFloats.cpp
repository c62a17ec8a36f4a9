// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-widen-floats: a model in f16 or bf16 computes in f32. Its tensors become f32, which holds each of their numbers; its
// inputs and outputs stay what they are, behind casts.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/ADT/StringSet.h"

namespace adapter {
#define GEN_PASS_DEF_WIDENFLOATSPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// ONNX's numbers of element types.
static constexpr int64_t numberF32 = 1, numberF16 = 10, numberBF16 = 16;

static Type narrowElement(Type type) {
  auto shaped = dyn_cast<ShapedType>(type);
  Type element = shaped ? shaped.getElementType() : Type();
  return element && (element.isF16() || element.isBF16()) ? element : Type();
}

static Type widened(Type type) {
  Type f32 = Float32Type::get(type.getContext());
  if (auto ranked = dyn_cast<RankedTensorType>(type))
    return RankedTensorType::get(ranked.getShape(), f32, ranked.getEncoding());
  return UnrankedTensorType::get(f32);
}

namespace {
class Widening {
public:
  Widening(onnxir::ModelOp model, bool sessions) : model(model), sessions(sessions) {}

  LogicalResult run() {
    for (auto graph : model.getBody().getOps<onnxir::GraphOp>()) {
      SmallVector<Type> outputs(graph.getBody().front().getTerminator()->getOperandTypes());
      WalkResult result = graph.walk(
          [&](Operation *op) { return failed(widen(op)) ? WalkResult::interrupt() : WalkResult::advance(); });
      if (result.wasInterrupted())
        return failure();
      castEnds(graph, outputs);
    }
    return success();
  }

  /// Numbers of the weights, in f16 and in bf16.
  int64_t ofF16 = 0, ofBF16 = 0;

private:
  // The contents of a tensor, as f32. Graphs may share one.
  LogicalResult widenContents(Operation *op, StringRef scope, StringRef key) {
    ParameterStore &store = ParameterStore::get(op->getContext());
    const checkpoint::Tensor *tensor = store.lookup(scope, key);
    if (!tensor || tensor->dtype == checkpoint::DType::F32)
      return success();
    (tensor->dtype == checkpoint::DType::F16 ? ofF16 : ofBF16) += tensor->elements();
    checkpoint::Result<checkpoint::Tensor> wide = checkpoint::toF32(*tensor);
    if (!wide)
      return op->emitError(wide.error().message);
    store.set(scope, key, std::move(*wide));
    return success();
  }

  LogicalResult widenAttributes(onnxir::NodeOp node) {
    NamedAttrList attributes(node.getNodeAttributes());
    bool changes = false;
    for (NamedAttribute each : node.getNodeAttributes()) {
      Attribute changed;
      if (auto tensor = dyn_cast<onnxir::TensorAttr>(each.getValue());
          tensor && narrowElement(tensor.getType())) {
        if (failed(widenContents(node, tensor.getScope(), tensor.getKey())))
          return failure();
        changed = onnxir::TensorAttr::get(node.getContext(), tensor.getScope(), tensor.getKey(),
                                          widened(tensor.getType()), ElementsAttr(), tensor.getExtra());
      }
      // What a node makes, of numbers of element types.
      if (auto number = dyn_cast<IntegerAttr>(each.getValue());
          number &&
          (each.getName() == "to" || each.getName() == "dtype" || each.getName() == "output_dtype") &&
          (number.getInt() == numberF16 || number.getInt() == numberBF16))
        changed = IntegerAttr::get(number.getType(), numberF32);
      if (!changed)
        continue;
      attributes.set(each.getName(), changed);
      changes = true;
    }
    if (changes)
      node.setNodeAttributesAttr(attributes.getDictionary(node.getContext()));
    return success();
  }

  LogicalResult widen(Operation *op) {
    if (auto parameter = dyn_cast<ParameterOp>(op); parameter && narrowElement(parameter.getType())) {
      if (failed(widenContents(op, parameter.getScope(), parameter.getKey())))
        return failure();
      parameter.setValueAttr({});
    }
    if (auto node = dyn_cast<onnxir::NodeOp>(op))
      if (failed(widenAttributes(node)))
        return failure();
    for (Value result : op->getResults())
      if (narrowElement(result.getType()))
        result.setType(widened(result.getType()));
    return success();
  }

  static Value cast(OpBuilder &builder, Location loc, Value value, Type type, int64_t number,
                    const std::string &name) {
    NodeBuilder b(builder, loc, name, "widened");
    return b.node("Cast", {value}, type,
                  NamedAttribute(builder.getStringAttr("to"), builder.getI64IntegerAttr(number)));
  }

  // Caches that a session keeps are nobody's inputs and outputs.
  bool isCache(StringRef name, StringRef prefix) { return sessions && name.starts_with(prefix); }

  void castEnds(onnxir::GraphOp graph, ArrayRef<Type> outputs) {
    Block &body = graph.getBody().front();
    OpBuilder builder = OpBuilder::atBlockBegin(&body);
    for (auto [argument, name] :
         llvm::zip(body.getArguments(), graph.getInputNames().getAsRange<StringAttr>())) {
      if (!narrowElement(argument.getType()))
        continue;
      Type wide = widened(argument.getType());
      if (isCache(name.getValue(), "past")) {
        argument.setType(wide);
        continue;
      }
      Value made = cast(builder, graph.getLoc(), argument, wide, numberF32,
                        "widened_input_" + std::to_string(argument.getArgNumber()));
      argument.replaceAllUsesExcept(made, made.getDefiningOp());
    }
    auto end = ::llvm::cast<onnxir::ReturnOp>(body.getTerminator());
    builder.setInsertionPoint(end);
    for (auto [number, type] : llvm::enumerate(outputs)) {
      Type element = narrowElement(type);
      StringRef name = end.getOutputNames()
                           ? ::llvm::cast<StringAttr>((*end.getOutputNames())[number]).getValue()
                           : StringRef();
      if (!element || isCache(name, "present"))
        continue;
      Value made =
          cast(builder, end.getLoc(), end.getOperand(number), type, element.isF16() ? numberF16 : numberBF16,
               "narrowed_output_" + std::to_string(number));
      end->setOperand(number, made);
    }
  }

  onnxir::ModelOp model;
  bool sessions;
};

struct WidenFloatsPass final : adapter::impl::WidenFloatsPassBase<WidenFloatsPass> {
  using Base::Base;

  void runOnOperation() override {
    int64_t ofF16 = 0, ofBF16 = 0;
    SmallVector<onnxir::ModelOp> models;
    getOperation()->walk([&](onnxir::ModelOp model) { models.push_back(model); });
    for (onnxir::ModelOp model : models) {
      Widening widening(model, sessions);
      if (failed(widening.run()))
        return signalPassFailure();
      ofF16 += widening.ofF16;
      ofBF16 += widening.ofBF16;
    }
    if (ofF16 || ofBF16)
      getOperation()->setAttr(widenedFromAttribute,
                              StringAttr::get(&getContext(), ofF16 >= ofBF16 ? "f16" : "bf16"));
  }
};
} // namespace
