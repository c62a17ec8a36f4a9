// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-narrow-weights: packed weights become bytes of a narrow format, which the stage phase computes.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace adapter {
#define GEN_PASS_DEF_NARROWWEIGHTSPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using kernel::FormatAttr;
using kernel::NumberFormat;

// The format of a product's weight, where it may have one.
static std::optional<OpOperand *> weightOf(Operation *op) {
  if (auto linear = dyn_cast<kernel::LinearOp>(op))
    return linear.getFormatAttr() ? nullptr : &linear.getWeightMutable();
  if (auto linear = dyn_cast<kernel::RowLinearOp>(op); linear && linear.getWeight())
    return linear.getFormatAttr() ? nullptr : &*linear.getWeightMutable().begin();
  return std::nullopt;
}

namespace {
struct NarrowWeights : adapter::impl::NarrowWeightsPassBase<NarrowWeights> {
  using Base::Base;

  // Whether a value is made of parameters alone.
  bool isKnown(Value value) {
    auto [place, isNew] = known.try_emplace(value, false);
    if (!isNew)
      return place->second;
    Operation *op = value.getDefiningOp();
    bool found = op && (isa<kernel::ParameterOp>(op) ||
                        (isMemoryEffectFree(op) && op->getNumRegions() == 0 &&
                         llvm::all_of(op->getOperands(), [&](Value operand) { return isKnown(operand); })) ||
                        isKnownRegionOp(op));
    known[value] = found;
    return found;
  }

  // Loops over elements see nothing else either.
  bool isKnownRegionOp(Operation *op) {
    if (!isa<linalg::LinalgOp, kernel::PackOp>(op))
      return false;
    return llvm::all_of(op->getOperands(), [&](Value operand) { return isKnown(operand); });
  }

  // What a weight of `depth` rows is stored in; null: f32.
  FormatAttr formatFor(int64_t depth) {
    if (depth % format.steps() == 0)
      return format;
    ++numOther, ++others;
    if (depth % 2)
      return {};
    return FormatAttr::get(&getContext(), NumberFormat::BF16, 0);
  }

  Value encoded(kernel::PackOp pack, FormatAttr chosen) {
    Value &value = narrow[pack];
    if (value)
      return value;
    OpBuilder builder(pack->getContext());
    builder.setInsertionPointAfter(pack);
    auto type = cast<RankedTensorType>(pack.getResult(0).getType());
    auto bytes = RankedTensorType::get(
        {type.getDimSize(0), type.getDimSize(1) / chosen.steps(), chosen.bytes(type.getDimSize(2))},
        builder.getI8Type());
    Value init = tensor::EmptyOp::create(builder, pack.getLoc(), bytes.getShape(), bytes.getElementType());
    value =
        kernel::EncodeOp::create(builder, pack.getLoc(), bytes, pack.getResult(0), init, chosen).getResult(0);
    ++numNarrowed;
    return value;
  }

  void runOnOperation() override {
    std::optional<NumberFormat> parsed = kernel::symbolizeNumberFormat(number);
    if (!parsed) {
      getOperation().emitError() << "there is no format '" << number.getValue() << "' of weights";
      return signalPassFailure();
    }
    format = FormatAttr::getChecked([&] { return getOperation().emitError(); }, &getContext(), *parsed,
                                    int64_t(group));
    if (!format)
      return signalPassFailure();
    getOperation()->walk([&](Operation *op) {
      std::optional<OpOperand *> operand = weightOf(op);
      if (!operand || !*operand)
        return;
      auto pack = (*operand)->get().getDefiningOp<kernel::PackOp>();
      if (!pack)
        return;
      auto type = cast<RankedTensorType>(pack.getResult(0).getType());
      if (type.getRank() != 3 || !type.hasStaticShape() || !type.getElementType().isF32() ||
          !isKnown(pack.getSource()))
        return;
      FormatAttr chosen = formatFor(type.getDimSize(1));
      if (!chosen)
        return;
      (*operand)->set(encoded(pack, chosen));
      op->setAttr("format", chosen);
    });
    if (others)
      getOperation().emitWarning() << "--weights " << format.text() << ": " << others << " weight"
                                   << (others == 1 ? "" : "s") << " whose number of rows is no multiple of "
                                   << format.steps() << (others == 1 ? " is" : " are") << " of bf16 or f32";
  }

  FormatAttr format;
  int64_t others = 0; // weights that do not fit it
  llvm::DenseMap<Value, bool> known;
  llvm::DenseMap<kernel::PackOp, Value> narrow;
};
} // namespace
