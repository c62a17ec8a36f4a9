// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Verification of the kernel ops for experts.
#include "dialects/Kernel/IR/KernelOps.h"
#include "dialects/Kernel/IR/ShapeChecks.h"

using namespace mlir;
using namespace adapter::kernel;

static bool haveRanks(ValueRange values, ArrayRef<int64_t> ranks) {
  return llvm::all_of(llvm::zip(values, ranks),
                      [](auto pair) { return typeOf(std::get<0>(pair)).getRank() == std::get<1>(pair); });
}

LogicalResult TopKOp::verify() {
  if (!haveRanks(getOperands(), {2, 2, 2}))
    return emitOpError("needs operands of rank 2");
  if (!agree(getInput(), 0, getValues(), 0) || !agree(getValues(), 0, getPositions(), 0) ||
      !agree(getValues(), 1, getPositions(), 1))
    return emitOpError("has results of other sizes than its input has rows");
  int64_t columns = typeOf(getInput()).getDimSize(1), chosen = typeOf(getValues()).getDimSize(1);
  if (!ShapedType::isDynamic(columns) && chosen > columns)
    return emitOpError("chooses ") << chosen << " of " << columns << " elements";
  return success();
}

LogicalResult DispatchOp::verify() {
  if (!haveRanks(getOperands(), {2, 2, 1, 1}))
    return emitOpError("needs ids and places of rank 2, tokens and offsets of rank 1");
  for (Value value : getOperands().drop_front())
    if (!typeOf(value).getElementType().isInteger(64))
      return emitOpError("needs results of i64");
  if (!agree(getIds(), 0, getPlaces(), 0) || !agree(getIds(), 1, getPlaces(), 1))
    return emitOpError("has a place for each id; got ") << getPlaces().getType();
  if (std::optional<uint64_t> number = getNumber(); number && *number > INT32_MAX)
    return emitOpError("has number ") << static_cast<int64_t>(*number) << ", which cannot be";
  return success();
}

LogicalResult GatherRowsOp::verify() {
  if (!haveRanks(getOperands(), {2, 1, 2}))
    return emitOpError("needs an input and an output of rank 2 and rows of rank 1");
  if (!agree(getRows(), 0, getOutput(), 0) || !agree(getInput(), 1, getOutput(), 1))
    return emitOpError("has an output that does not fit input and rows");
  return success();
}

LogicalResult GroupedLinearOp::verify() {
  if (!haveRanks({getInput(), getWeight(), getOffsets(), getOutput()}, {2, 4, 1, 2}))
    return emitOpError("needs an input and an output of rank 2, packed weights of rank 4, offsets of rank 1");
  if (!agree(getInput(), 1, getWeight(), 2))
    return emitOpError("has ") << typeOf(getInput()).getDimSize(1) << " columns of input for "
                               << typeOf(getWeight()).getDimSize(2) << " rows of weight";
  if (!agree(getInput(), 0, getOutput(), 0))
    return emitOpError("has ") << typeOf(getInput()).getDimSize(0) << " rows of input for "
                               << typeOf(getOutput()).getDimSize(0) << " rows of output";
  int64_t groups = typeOf(getWeight()).getDimSize(0);
  if (!ShapedType::isDynamic(groups) && disagree(typeOf(getOffsets()).getDimSize(0), groups + 1))
    return emitOpError("needs ") << groups + 1 << " offsets for " << groups << " groups";
  if (Value bias = getBias();
      bias && (!haveRanks(bias, {2}) || !agree(bias, 0, getWeight(), 0) || !agree(bias, 1, getOutput(), 1)))
    return emitOpError("needs a bias of groups and columns; got ") << bias.getType();
  return success();
}

LogicalResult CombineOp::verify() {
  if (!haveRanks(getOperands(), {2, 2, 2, 2}))
    return emitOpError("needs operands of rank 2");
  if (!agree(getPlaces(), 0, getWeights(), 0) || !agree(getPlaces(), 1, getWeights(), 1) ||
      !agree(getPlaces(), 0, getOutput(), 0) || !agree(getInput(), 1, getOutput(), 1))
    return emitOpError("has places, weights and an output that do not fit one another");
  return success();
}
