// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-repack-weights: packed weights that are made of integers become those integers in the product's own order,
// which the stage phase computes.
#include "lib/Compile/Passes.h"
#include "lib/Compile/ProductWeight.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace adapter {
#define GEN_PASS_DEF_REPACKWEIGHTSPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using kernel::FormatAttr;

namespace {
struct RepackWeights final : adapter::impl::RepackWeightsPassBase<RepackWeights> {
  using Base::Base;

  Value repacked(kernel::PackOp pack, kernel::DequantizeOp matrix) {
    Value &value = made[pack];
    if (value)
      return value;
    OpBuilder builder(pack);
    FormatAttr format = matrix.getFormat();
    auto panels = cast<RankedTensorType>(pack.getResult(0).getType());
    int64_t groups = llvm::divideCeil(panels.getDimSize(1), format.steps());
    auto type = RankedTensorType::get({panels.getDimSize(0), groups, format.bytes(panels.getDimSize(2))},
                                      builder.getI8Type());
    Value init = tensor::EmptyOp::create(builder, pack.getLoc(), type.getShape(), type.getElementType());
    value = kernel::RepackOp::create(builder, pack.getLoc(), type, matrix.getCodes(), matrix.getScales(),
                                     matrix.getZeros(), init, matrix.getBlock(), format, /*transposed=*/false)
                .getResult(0);
    ++numRepacked;
    return value;
  }

  void runOnOperation() override {
    SmallVector<OpOperand *> weights;
    getOperation()->walk([&](Operation *op) {
      if (OpOperand *operand = wideWeightOf(op))
        weights.push_back(operand);
    });
    for (OpOperand *operand : weights) {
      auto pack = operand->get().getDefiningOp<kernel::PackOp>();
      auto matrix = pack ? pack.getSource().getDefiningOp<kernel::DequantizeOp>() : kernel::DequantizeOp();
      // Blocks must lie along what the product sums over.
      if (!matrix || matrix.getTransposed() == pack.getTransposed())
        continue;
      auto panels = cast<RankedTensorType>(pack.getResult(0).getType());
      if (panels.getRank() != 3 || !panels.hasStaticShape())
        continue;
      Operation *product = operand->getOwner();
      FormatAttr format = matrix.getFormat();
      operand->set(repacked(pack, matrix));
      product->setAttr("format", format);
      if (int64_t depth = panels.getDimSize(1); depth % format.steps())
        product->setAttr(kernel::partialGroupAttribute, Builder(&getContext()).getI64IntegerAttr(depth));
    }
  }

  llvm::DenseMap<kernel::PackOp, Value> made;
};
} // namespace
