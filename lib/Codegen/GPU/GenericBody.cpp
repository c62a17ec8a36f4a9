// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See GenericBody.h.
#include "lib/Codegen/GPU/GenericBody.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;

void GenericBody::flatten() {
  auto add = [&](Value value) {
    if (isa<MemRefType>(value.getType()) && !buffers.count(value))
      buffers[value] = k.flatten(value);
  };
  llvm::for_each(op->getOperands(), add);
  op.getBody()->walk([&](Operation *inner) { llvm::for_each(inner->getOperands(), add); });
  if (op.getBody()->walk([](kernel::RequireOp) { return WalkResult::interrupt(); }).wasInterrupted())
    status = k.flatten(checks.status(op));
}

SmallVector<Value> GenericBody::positionOf(OpOperand &operand, ArrayRef<Value> indices) {
  SmallVector<Value> result;
  for (AffineExpr expr : op.getMatchingIndexingMap(&operand).getResults())
    result.push_back(affine::expandAffineExpr(b, b.getLoc(), expr, indices, {}));
  return result;
}

SmallVector<Value> GenericBody::loadInputs(ArrayRef<Value> indices) {
  SmallVector<Value> loaded;
  for (OpOperand *operand : op.getDpsInputOperands())
    loaded.push_back(isa<MemRefType>(operand->get().getType())
                         ? k.load(buffers[operand->get()], positionOf(*operand, indices))
                         : operand->get());
  return loaded;
}

SmallVector<Value> GenericBody::loadOutputs(ArrayRef<Value> indices, bool onlyRead) {
  SmallVector<Value> loaded;
  for (auto [operand, argument] : llvm::zip(op.getDpsInitsMutable(), op.getRegionOutputArgs()))
    loaded.push_back(onlyRead && argument.use_empty()
                         ? Value()
                         : k.load(buffers[operand.get()], positionOf(operand, indices)));
  return loaded;
}

void GenericBody::storeOutputs(ArrayRef<Value> indices, ValueRange values) {
  for (auto [operand, value] : llvm::zip(op.getDpsInitsMutable(), values))
    k.store(value, buffers[operand.get()], positionOf(operand, indices));
}

// The body at one point; returns what it yields.
SmallVector<Value> GenericBody::emit(ArrayRef<Value> indices, ArrayRef<Value> inputs,
                                     ArrayRef<Value> outputs) {
  IRMapping mapping;
  for (auto [argument, value] :
       llvm::zip(op.getBody()->getArguments(), llvm::concat<const Value>(inputs, outputs)))
    if (value)
      mapping.map(argument, value);
  return emitFrom(op.getBody()->begin(), indices, mapping);
}

// What follows a failed check is not evaluated: it may read beyond a buffer. Zeros take its place and the
// host fails the call.
SmallVector<Value> GenericBody::emitFrom(Block::iterator at, ArrayRef<Value> indices, IRMapping &mapping) {
  for (; !at->hasTrait<OpTrait::IsTerminator>(); ++at) {
    if (auto index = dyn_cast<linalg::IndexOp>(*at)) {
      mapping.map(index.getResult(), indices[index.getDim()]);
    } else if (auto load = dyn_cast<memref::LoadOp>(*at)) {
      SmallVector<Value> where =
          llvm::map_to_vector(load.getIndices(), [&](Value value) { return mapping.lookupOrDefault(value); });
      mapping.map(load.getResult(), k.load(buffers[load.getMemRef()], where));
    } else if (auto cast = dyn_cast<arith::IndexCastOp>(*at); cast && cast.getIn().getType().isInteger(64)) {
      mapping.map(cast.getResult(), toIndex(mapping.lookupOrDefault(cast.getIn())));
    } else if (auto check = dyn_cast<kernel::RequireOp>(*at)) {
      return emitChecked(check, std::next(at), indices, mapping);
    } else {
      adapt(b.clone(*at, mapping), indices);
    }
  }
  return llvm::map_to_vector(at->getOperands(), [&](Value value) { return mapping.lookupOrDefault(value); });
}

// The same for what stands in the regions of a cloned op.
void GenericBody::adapt(Operation *clone, ArrayRef<Value> indices) {
  if (!clone->getNumRegions())
    return;
  SmallVector<Operation *> inner;
  clone->walk([&](Operation *op) {
    if (isa<linalg::IndexOp, memref::LoadOp, arith::IndexCastOp>(op))
      inner.push_back(op);
  });
  for (Operation *op : inner) {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPoint(op);
    Value value;
    if (auto index = dyn_cast<linalg::IndexOp>(op))
      value = indices[index.getDim()];
    else if (auto load = dyn_cast<memref::LoadOp>(op))
      value = k.load(buffers[load.getMemRef()], SmallVector<Value>(load.getIndices()));
    else if (auto cast = dyn_cast<arith::IndexCastOp>(op); cast && cast.getIn().getType().isInteger(64))
      value = toIndex(cast.getIn());
    if (!value)
      continue;
    op->getResult(0).replaceAllUsesWith(value);
    op->erase();
  }
}

// An index has 32 bits on devices: what does not fit stays out of every range.
Value GenericBody::toIndex(Value i64) {
  Value most = arith::ConstantOp::create(b, b.getI64IntegerAttr(INT32_MAX));
  Value least = arith::ConstantOp::create(b, b.getI64IntegerAttr(INT32_MIN));
  Value within = arith::MaxSIOp::create(b, arith::MinSIOp::create(b, i64, most), least);
  return arith::IndexCastOp::create(b, b.getIndexType(), within);
}

SmallVector<Value> GenericBody::emitChecked(kernel::RequireOp check, Block::iterator rest,
                                            ArrayRef<Value> indices, IRMapping &mapping) {
  Operation *terminator = op.getBody()->getTerminator();
  auto branch =
      scf::IfOp::create(b, terminator->getOperandTypes(), mapping.lookupOrDefault(check.getCondition()),
                        /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, emitFrom(rest, indices, mapping));
  b.setInsertionPointToStart(branch.elseBlock());
  Value number = arith::ConstantOp::create(
      b, b.getI32IntegerAttr(static_cast<int32_t>(checks.number(check.getMessage()))));
  k.store(number, status, {k.index(0)});
  SmallVector<Value> zeros;
  for (Type type : terminator->getOperandTypes())
    zeros.push_back(arith::ConstantOp::create(b, b.getZeroAttr(type)));
  scf::YieldOp::create(b, zeros);
  return branch.getResults();
}
