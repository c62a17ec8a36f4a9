// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See VectorReduction.h. LLVM does not do this: it would have to exchange loops, or add in another order.
#include "lib/Codegen/VectorReduction.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"

using namespace mlir;
using namespace adapter;

static bool runsAlong(AffineMap map, unsigned dim) {
  if (!map.getNumResults() || map.getResults().back() != getAffineDimExpr(dim, map.getContext()))
    return false;
  return llvm::none_of(map.getResults().drop_back(), [&](AffineExpr e) { return e.isFunctionOfDim(dim); });
}

static bool isNumber(Type type) { return type.isIntOrFloat() && !type.isInteger(1); }

bool adapter::canReduceVectors(linalg::GenericOp op, unsigned dim) {
  llvm::DenseSet<Value> wide; // what differs between results
  for (OpOperand &operand : op->getOpOperands()) {
    AffineMap map = op.getMatchingIndexingMap(&operand);
    if (!op.isDpsInit(&operand) && !map.isFunctionOfDim(dim))
      continue;
    auto type = dyn_cast<MemRefType>(operand.get().getType());
    if (!type || !runsAlong(map, dim) || !type.isLastDimUnitStride() || !isNumber(type.getElementType()))
      return false;
    wide.insert(op.getMatchingBlockArgument(&operand));
  }
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner);
        (index && index.getDim() == dim) || inner.getNumRegions())
      return false;
    if (llvm::none_of(inner.getOperands(), [&](Value operand) { return wide.contains(operand); }))
      continue;
    if (!isa<arith::ArithDialect>(inner.getDialect()) || !OpTrait::hasElementwiseMappableTraits(&inner))
      return false;
    wide.insert_range(inner.getResults());
  }
  return true;
}

static Value asVector(ImplicitLocOpBuilder &b, Value value) {
  if (isa<VectorType>(value.getType()))
    return value;
  return vector::BroadcastOp::create(b, VectorType::get(vectorResults, value.getType()), value);
}

static Value load(ImplicitLocOpBuilder &b, linalg::GenericOp op, OpOperand &operand, unsigned dim,
                  ArrayRef<Value> indices) {
  auto type = dyn_cast<MemRefType>(operand.get().getType());
  if (!type)
    return operand.get();
  AffineMap map = op.getMatchingIndexingMap(&operand);
  SmallVector<Value> at = position(b, map, indices);
  if (!map.isFunctionOfDim(dim))
    return memref::LoadOp::create(b, operand.get(), at);
  return vector::LoadOp::create(b, VectorType::get(vectorResults, type.getElementType()), operand.get(), at);
}

SmallVector<Value> adapter::emitBody(ImplicitLocOpBuilder &b, linalg::GenericOp op, ArrayRef<Value> indices,
                                     ArrayRef<Value> arguments) {
  // An unused argument needs no value; the mapping must not hold a null one.
  IRMapping mapping;
  for (auto [argument, value] : llvm::zip(op.getBody()->getArguments(), arguments))
    if (value)
      mapping.map(argument, value);
  for (Operation &inner : op.getBody()->without_terminator()) {
    if (auto index = dyn_cast<linalg::IndexOp>(inner)) {
      mapping.map(index.getResult(), indices[index.getDim()]);
      continue;
    }
    bool isWide = llvm::any_of(inner.getOperands(), [&](Value operand) {
      return isa<VectorType>(mapping.lookupOrDefault(operand).getType());
    });
    if (isWide)
      for (Value operand : inner.getOperands())
        mapping.map(operand, asVector(b, mapping.lookupOrDefault(operand)));
    Operation *made = b.clone(inner, mapping);
    if (isWide)
      for (auto [narrow, wide] : llvm::zip(inner.getResults(), made->getResults())) {
        wide.setType(VectorType::get(vectorResults, narrow.getType()));
        mapping.map(narrow, wide);
      }
  }
  SmallVector<Value> yielded;
  for (Value value : op.getBody()->getTerminator()->getOperands())
    yielded.push_back(mapping.lookupOrDefault(value));
  return yielded;
}

void adapter::emitVectorReduction(ImplicitLocOpBuilder &b, linalg::GenericOp op, unsigned dim,
                                  ArrayRef<unsigned> dims, ArrayRef<Value> sizes,
                                  SmallVector<Value> indices) {
  OpBuilder::InsertionGuard guard(b);
  Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
  SmallVector<Value> carried;
  for (OpOperand &operand : op.getDpsInitsMutable())
    carried.push_back(load(b, op, operand, dim, indices));
  scf::ForOp outermost;
  for (unsigned reduced : dims) {
    auto loop = scf::ForOp::create(b, zero, sizes[reduced], one, carried);
    if (outermost)
      scf::YieldOp::create(b, loop.getResults());
    else
      outermost = loop;
    carried.assign(loop.getRegionIterArgs().begin(), loop.getRegionIterArgs().end());
    indices[reduced] = loop.getInductionVar();
    b.setInsertionPointToStart(loop.getBody());
  }
  SmallVector<Value> arguments;
  for (OpOperand *operand : op.getDpsInputOperands())
    arguments.push_back(load(b, op, *operand, dim, indices));
  arguments.append(carried);
  SmallVector<Value> yielded = emitBody(b, op, indices, arguments);
  for (Value &value : yielded)
    value = asVector(b, value);
  scf::YieldOp::create(b, yielded);
  b.setInsertionPointAfter(outermost);
  for (auto [operand, value] : llvm::zip(op.getDpsInitsMutable(), outermost.getResults()))
    vector::StoreOp::create(b, value, operand.get(),
                            position(b, op.getMatchingIndexingMap(&operand), indices));
}
