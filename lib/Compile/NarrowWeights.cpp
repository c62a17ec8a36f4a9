// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-narrow-weights: packed weights become bytes of a narrow format, which the stage phase computes.
#include "lib/Compile/Passes.h"
#include "lib/Compile/ProductWeight.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"

namespace adapter {
#define GEN_PASS_DEF_NARROWWEIGHTSPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using kernel::FormatAttr;
using kernel::NumberFormat;

namespace {
struct NarrowWeights : adapter::impl::NarrowWeightsPassBase<NarrowWeights> {
  using Base::Base;

  // Whether a value is made of parameters alone.
  bool isKnown(Value value) {
    auto [place, isNew] = known.try_emplace(value, false);
    if (!isNew)
      return place->second;
    Operation *op = value.getDefiningOp();
    if (!op)
      return false;
    SetVector<Value> read(op->operand_begin(), op->operand_end());
    getUsedValuesDefinedAbove(op->getRegions(), read);
    bool found = isa<kernel::ParameterOp>(op) ||
                 (isMemoryEffectFree(op) && llvm::all_of(read, [&](Value each) { return isKnown(each); }));
    known[value] = found;
    return found;
  }

  // What a weight of `depth` rows is stored in; null: f32.
  FormatAttr formatFor(int64_t depth) {
    if (depth % format.steps() == 0)
      return format;
    ++numOther, ++others;
    if (depth % 2)
      return {};
    return FormatAttr::get(&getContext(), NumberFormat::BF16, 0, false, false);
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
                                    int64_t(group), /*wideScales=*/false, /*zeros=*/false);
    if (!format)
      return signalPassFailure();
    getOperation()->walk([&](Operation *op) {
      OpOperand *operand = wideWeightOf(op);
      if (!operand)
        return;
      auto pack = operand->get().getDefiningOp<kernel::PackOp>();
      // What was rounded before is not rounded again.
      if (!pack || pack.getSource().getDefiningOp<kernel::DequantizeOp>())
        return;
      auto type = cast<RankedTensorType>(pack.getResult(0).getType());
      if (type.getRank() != 3 || !type.hasStaticShape() || !type.getElementType().isF32() ||
          !isKnown(pack.getSource()))
        return;
      FormatAttr chosen = formatFor(type.getDimSize(1));
      if (!chosen)
        return;
      operand->set(encoded(pack, chosen));
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
