// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-expand-modules: modules as nodes, which export, code generation and other adapters know how to treat.
// The inner function's nodes move out of their region as they are.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/NodeBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_EXPANDMODULESPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Of constants that belong to no adapter.
static const std::string expandedScope = "expanded";

static void expandBottleneck(BottleneckOp op, unsigned number) {
  OpBuilder builder(op);
  std::string name = op.getNodeName() ? op.getNodeName()->str() : "bottleneck_" + std::to_string(number);
  auto factors = op.getDown().getDefiningOp<ParameterOp>();
  NodeBuilder b(builder, op.getLoc(), name, factors ? factors.getScope().str() : expandedScope);
  Block &inner = op.getInner().front();
  Value narrow = b.product(op.getInput(), b.transposed(op.getDown()));
  if (op.getDownBias())
    narrow = b.node("Add", {narrow, op.getDownBias()});
  inner.getArgument(0).replaceAllUsesWith(narrow);
  Value active = op.getYielded();
  for (Operation &each : llvm::make_early_inc_range(inner.without_terminator()))
    each.moveBefore(op);
  Value wide = b.product(active, b.transposed(op.getUp()));
  if (op.getUpBias())
    wide = b.node("Add", {wide, op.getUpBias()});
  if (op.getScale())
    wide = b.node("Mul", {wide, op.getScale()});
  wide = b.times(wide, op.getFactor().convertToDouble());
  if (op.getResidual())
    wide = b.node("Add", {wide, op.getResidual()});
  wide.setType(op.getResult().getType());
  op.replaceAllUsesWith(wide);
  op.erase();
}

static void expandMix(MaskMixOp op, unsigned number) {
  OpBuilder builder(op);
  NodeBuilder b(builder, op.getLoc(), "mask_mix_" + std::to_string(number), expandedScope);
  Type element = op.getType().getElementType();
  // TensorProto.DataType, as Cast says it.
  int64_t type = element.isF16() ? 10 : element.isBF16() ? 16 : 1;
  NamedAttribute to(builder.getStringAttr("to"), builder.getI64IntegerAttr(type));
  Value sum;
  for (auto [factor, mask] : llvm::zip(op.getFactors(), op.getMasks())) {
    Value part = b.node("Mul", {factor, b.node("Cast", {mask}, factor.getType(), to)});
    sum = sum ? b.node("Add", {sum, part}) : part;
  }
  // Where masks are disjoint, as select has them, the sum selects.
  if (op.getMode() == MaskMixMode::Mean)
    sum = b.node("Div", {sum, b.constant(static_cast<double>(op.getFactors().size()), sum)});
  op.replaceAllUsesWith(sum);
  op.erase();
}

namespace {
struct ExpandModulesPass final : adapter::impl::ExpandModulesPassBase<ExpandModulesPass> {
  using Base::Base;
  void runOnOperation() override {
    // Mixtures first: what they make is what bottlenecks read.
    unsigned mixtures = 0;
    getOperation()->walk([&](MaskMixOp op) { expandMix(op, mixtures++); });
    getOperation()->walk([&](BottleneckOp op) {
      SmallVector<ParameterOp> factors;
      for (Value factor : {op.getDown(), op.getUp()})
        if (auto parameter = factor.getDefiningOp<ParameterOp>())
          factors.push_back(parameter);
      expandBottleneck(op, numExpanded++);
      // Their transposes are read in their place.
      for (ParameterOp parameter : factors)
        if (parameter.use_empty())
          parameter.erase();
    });
  }
};
} // namespace
