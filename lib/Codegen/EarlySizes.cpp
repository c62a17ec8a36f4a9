// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sizes at the beginning of a function: see EarlySizes.h.
#include "lib/Codegen/EarlySizes.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

using namespace mlir;
using namespace adapter;

EarlySizes::EarlySizes(func::FuncOp function) : b(function.getLoc(), function.getContext()) {
  b.setInsertionPointToStart(&function.front());
  end = arith::ConstantIndexOp::create(b, 0);
  b.setInsertionPoint(end);
}

static bool isScalar(Type type) { return type.isIndex() || isa<IntegerType>(type); }

Value EarlySizes::dimOf(Value buffer, int64_t dim) {
  auto type = dyn_cast<MemRefType>(buffer.getType());
  if (!type || dim < 0 || dim >= type.getRank())
    return {};
  if (!type.isDynamicDim(dim))
    return arith::ConstantIndexOp::create(b, type.getDimSize(dim));
  unsigned position = type.getDynamicDimIndex(dim);
  if (auto argument = dyn_cast<BlockArgument>(buffer))
    return argument.getOwner()->isEntryBlock() && isa<func::FuncOp>(argument.getOwner()->getParentOp())
               ? Value(memref::DimOp::create(b, buffer, dim))
               : Value();
  Operation *op = buffer.getDefiningOp();
  if (auto alloc = dyn_cast<memref::AllocOp>(op))
    return get(alloc.getDynamicSizes()[position]);
  if (auto reshape = dyn_cast<kernel::ReshapeOp>(op))
    return get(reshape.getSizes()[position]);
  if (auto cast = dyn_cast<memref::CastOp>(op))
    return dimOf(cast.getSource(), dim);
  return {};
}

static bool divides(Operation *op) {
  return isa<arith::DivSIOp, arith::DivUIOp, arith::RemSIOp, arith::RemUIOp, arith::CeilDivSIOp,
             arith::CeilDivUIOp, arith::FloorDivSIOp>(op);
}

// Operations that depend on nothing but their operands, and divisions, which get a divisor that is not 0.
Value EarlySizes::recompute(Operation *op, unsigned result) {
  if (op->getNumRegions() || !isMemoryEffectFree(op) || (!isSpeculatable(op) && !divides(op)) ||
      !llvm::all_of(op->getOperandTypes(), isScalar) || !llvm::all_of(op->getResultTypes(), isScalar))
    return {};
  IRMapping mapping;
  for (Value operand : op->getOperands()) {
    Value early = get(operand);
    if (!early)
      return {};
    mapping.map(operand, early);
  }
  if (divides(op)) {
    Value divisor = mapping.lookup(op->getOperand(1));
    Value zero = arith::ConstantOp::create(b, b.getZeroAttr(divisor.getType()));
    Value one = arith::ConstantOp::create(b, b.getIntegerAttr(divisor.getType(), 1));
    Value none = b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::eq, divisor, zero);
    mapping.map(op->getOperand(1), b.createOrFold<arith::SelectOp>(none, one, divisor));
  }
  return b.clone(*op, mapping)->getResult(result);
}

Value EarlySizes::get(Value value) {
  auto [place, isNew] = known.try_emplace(value);
  if (!isNew)
    return place->second;
  Value early;
  if (auto argument = dyn_cast<BlockArgument>(value)) {
    if (argument.getOwner()->isEntryBlock() && isa<func::FuncOp>(argument.getOwner()->getParentOp()))
      early = value;
  } else if (auto dim = value.getDefiningOp<memref::DimOp>()) {
    if (std::optional<int64_t> index = dim.getConstantIndex())
      early = dimOf(dim.getSource(), *index);
  } else {
    auto result = cast<OpResult>(value);
    early = recompute(result.getOwner(), result.getResultNumber());
  }
  return known[value] = early;
}

std::optional<SmallVector<Value>> EarlySizes::shapeOf(Value buffer) {
  SmallVector<Value> shape;
  for (int64_t dim = 0; dim < cast<MemRefType>(buffer.getType()).getRank(); ++dim) {
    shape.push_back(dimOf(buffer, dim));
    if (!shape.back())
      return std::nullopt;
  }
  return shape;
}

std::optional<int64_t> EarlySizes::sample(Value early, int64_t size) {
  auto [place, isNew] = samples.try_emplace(early, std::nullopt);
  if (!isNew)
    return place->second;
  std::optional<int64_t> result;
  Operation *op = early.getDefiningOp();
  if (!op || isa<memref::DimOp>(op)) {
    result = size;
  } else {
    SmallVector<Attribute> operands;
    for (Value operand : op->getOperands()) {
      std::optional<int64_t> known = sample(operand, size);
      operands.push_back(known ? b.getIntegerAttr(operand.getType(), *known) : IntegerAttr());
    }
    SmallVector<OpFoldResult> folded;
    unsigned number = cast<OpResult>(early).getResultNumber();
    if (succeeded(op->fold(operands, folded)) && number < folded.size()) {
      if (auto attribute = dyn_cast<Attribute>(folded[number])) {
        if (auto integer = dyn_cast<IntegerAttr>(attribute))
          result = integer.getValue().getSExtValue();
      } else {
        result = sample(cast<Value>(folded[number]), size);
      }
    } else if (operands.empty()) {
      result = size; // what the call says, like its number of rows
    }
  }
  return samples[early] = result;
}
