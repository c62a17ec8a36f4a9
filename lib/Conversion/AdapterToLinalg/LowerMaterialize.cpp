// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-lower-materialize: an update that is known becomes a computation in f64 from the weight to its
// adapted self, rounded once at the end. What each kind of update does it says itself, through its interface.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERMATERIALIZEPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// A new tensor of the sizes of `like`.
static Value emptyLike(ImplicitLocOpBuilder &b, Value like, Type elementType) {
  return tensor::EmptyOp::create(b, tensor::getMixedSizes(b, b.getLoc(), like), elementType);
}

static Value convertFloats(ImplicitLocOpBuilder &b, Value tensor, Type elementType) {
  auto type = cast<RankedTensorType>(tensor.getType());
  if (type.getElementType() == elementType)
    return tensor;
  bool wider = elementType.getIntOrFloatBitWidth() > type.getElementTypeBitWidth();
  SmallVector<AffineMap> maps(2, b.getMultiDimIdentityMap(type.getRank()));
  SmallVector<utils::IteratorType> iterators(type.getRank(), utils::IteratorType::parallel);
  Value init = emptyLike(b, tensor, elementType);
  auto generic = linalg::GenericOp::create(
      b, init.getType(), tensor, init, maps, iterators,
      [&](OpBuilder &inner, Location loc, ValueRange arguments) {
        Value converted = wider ? arith::ExtFOp::create(inner, loc, elementType, arguments[0]).getResult()
                                : arith::TruncFOp::create(inner, loc, elementType, arguments[0]).getResult();
        linalg::YieldOp::create(inner, loc, converted);
      });
  return generic.getResult(0);
}

static LogicalResult lower(MaterializeOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  auto update = op.getUpdate().getDefiningOp<UpdateOpInterface>();
  Value wide = update.needsWeight() ? convertFloats(b, op.getWeight(), b.getF64Type())
                                    : emptyLike(b, op.getWeight(), b.getF64Type());
  Value updated = update.materialize(b, UpdateTarget::of(wide));
  if (!updated)
    return op.emitError("an update by '") << update->getName() << "' has no form that can be computed here";
  auto type = cast<RankedTensorType>(op.getType());
  Value result = convertFloats(b, updated, type.getElementType());
  if (result.getType() != type)
    result = tensor::CastOp::create(b, type, result);
  op.getResult().replaceAllUsesWith(result);
  return success();
}

// Updates that nothing applies any more, and the maps that they are made of.
static void eraseUnused(Operation *function) {
  SmallVector<Operation *> updates;
  function->walk([&](Operation *op) {
    if (isa<UpdateOpInterface, MapOpInterface>(op))
      updates.push_back(op);
  });
  for (Operation *op : llvm::reverse(updates))
    if (op->use_empty())
      op->erase();
}

namespace {
struct LowerMaterializePass : adapter::impl::LowerMaterializePassBase<LowerMaterializePass> {
  using LowerMaterializePassBase::LowerMaterializePassBase;
  void runOnOperation() override {
    SmallVector<MaterializeOp> ops;
    getOperation()->walk([&](MaterializeOp op) {
      if (isKnownUpdate(op.getUpdate()))
        ops.push_back(op);
    });
    for (MaterializeOp op : ops) {
      if (failed(lower(op)))
        return signalPassFailure();
      op.erase();
    }
    eraseUnused(getOperation());
    // What forms say that nothing uses any more has been done.
    if (getOperation()->hasTrait<OpTrait::SymbolTable>())
      for (auto form : llvm::make_early_inc_range(getOperation()->getRegion(0).getOps<FormOp>()))
        if (SymbolTable::symbolKnownUseEmpty(form, getOperation()))
          form.erase();
  }
};
} // namespace
