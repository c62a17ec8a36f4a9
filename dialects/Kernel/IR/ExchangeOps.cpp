// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Effects and verification of the kernel ops of experts that several processes share.
#include "dialects/Kernel/IR/KernelOps.h"
#include "dialects/Kernel/IR/ShapeChecks.h"

using namespace mlir;
using namespace adapter::kernel;

// Whether each is a tensor of i64 of its rank.
static bool areNumbers(ValueRange values, ArrayRef<int64_t> ranks) {
  return llvm::all_of(llvm::zip(values, ranks), [](auto pair) {
    ShapedType type = typeOf(std::get<0>(pair));
    return type.hasRank() && type.getRank() == std::get<1>(pair) && type.getElementType().isInteger(64);
  });
}

static bool haveStaticShapes(ValueRange values) {
  return llvm::all_of(values, [](Value value) { return typeOf(value).hasStaticShape(); });
}

void RoutedOp::getEffects(SmallVectorImpl<SideEffects::EffectInstance<MemoryEffects::Effect>> &effects) {
  effects.emplace_back(MemoryEffects::Read::get(), &getIdsMutable(), SideEffects::DefaultResource::get());
  // The host hears of it.
  effects.emplace_back(MemoryEffects::Write::get(), SideEffects::DefaultResource::get());
}

LogicalResult RoutedOp::verify() {
  if (!areNumbers(getIds(), {2}))
    return emitOpError("needs a buffer of i64 of rank 2");
  if (static_cast<int64_t>(getLayer()) < 0 || static_cast<int64_t>(getLayer()) > INT32_MAX)
    return emitOpError("has layer ") << static_cast<int64_t>(getLayer()) << ", which cannot be";
  return success();
}

LogicalResult UniqueRowsOp::verify() {
  if (!areNumbers(getOperands(), {1, 1, 1, 1, 1, 1}))
    return emitOpError("needs operands of i64 of rank 1");
  if (!haveStaticShapes({getOffsets(), getBounds()}))
    return emitOpError("needs numbers of experts and processes that are known");
  int64_t experts = typeOf(getOffsets()).getDimSize(0) - 1, processes = typeOf(getBounds()).getDimSize(0) - 1;
  if (processes < 1 || experts < processes || experts % processes)
    return emitOpError("cannot share ") << experts << " experts among " << processes << " processes evenly";
  if (!agree(getTokens(), 0, getIndex(), 0) || !agree(getTokens(), 0, getRows(), 0))
    return emitOpError("has room for another number of rows than there are pairs");
  return success();
}

LogicalResult ArrangeRowsOp::verify() {
  if (!areNumbers(getOperands().drop_front(), {1, 2, 1, 1, 1}))
    return emitOpError("needs counts of i64 of rank 2 and other operands of i64 of rank 1");
  if (!haveStaticShapes({getCounts(), getOffsets()}))
    return emitOpError("needs numbers of experts and processes that are known");
  ArrayRef<int64_t> counts = typeOf(getCounts()).getShape();
  int64_t experts = typeOf(getOffsets()).getDimSize(0) - 1;
  if (counts[0] < 1 || counts[1] < 2 || counts[0] * (counts[1] - 1) != experts)
    return emitOpError("has counts of ")
           << counts[1] - 1 << " experts from " << counts[0] << " processes for " << experts << " experts";
  if (!agree(getIndex(), 0, getPlaces(), 0) || !agree(getIndex(), 0, getRows(), 0))
    return emitOpError("has another number of rows or places than there are pairs");
  return success();
}

LogicalResult AllToAllOp::verify() {
  ShapedType input = typeOf(getInput()), output = typeOf(getOutput());
  if (!input.hasStaticShape() || input.getRank() == 0 || input.getShape() != output.getShape() ||
      input.getElementType() != output.getElementType())
    return emitOpError("needs an input and an output of one shape that is known");
  return success();
}

// Rows of one type, and as many counts as there are processes.
static LogicalResult verifyRows(Operation *op, Value input, Value output, ValueRange counts) {
  ShapedType in = typeOf(input), out = typeOf(output);
  if (!in.hasRank() || in.getRank() == 0 || in.getRank() != out.getRank() ||
      in.getElementType() != out.getElementType() || in.getElementTypeBitWidth() % 8 != 0)
    return op->emitOpError("needs an input and an output of one rank and one element type of whole bytes");
  for (int64_t dim = 1; dim < in.getRank(); ++dim)
    if (!agree(input, dim, output, dim))
      return op->emitOpError("has rows of another size in its output than in its input");
  for (Value count : counts)
    if (!areNumbers(count, {1}) || !haveStaticShapes(count) ||
        typeOf(count).getShape() != typeOf(counts.front()).getShape())
      return op->emitOpError("needs counts of i64, one for each process");
  return success();
}

LogicalResult AllToAllRowsOp::verify() {
  return verifyRows(*this, getInput(), getOutput(), {getSend(), getReceive()});
}

LogicalResult AllGatherRowsOp::verify() { return verifyRows(*this, getInput(), getOutput(), getCounts()); }
