// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Ops of attention.
#include "dialects/Kernel/IR/KernelOps.h"
#include "dialects/Kernel/IR/ShapeChecks.h"

using namespace mlir;
using namespace adapter::kernel;

// Whether a dimension of the mask is one of the scores' or is broadcast along it.
static bool broadcasts(Value mask, int64_t dim, Value of, int64_t at) {
  return typeOf(mask).getDimSize(dim) == 1 || agree(mask, dim, of, at);
}

LogicalResult AttentionOp::verify() {
  for (Value operand : getOperands())
    if (typeOf(operand).getRank() != 4 || !typeOf(operand).getElementType().isF32())
      return emitOpError("needs operands of rank 4 and of f32");
  Value query = getQuery(), key = getKey(), value = getValue(), output = getOutput(), mask = getMask();
  for (Value each : {query, key, value, output})
    if (typeOf(each).isDynamicDim(1) || typeOf(each).isDynamicDim(3))
      return emitOpError("needs static numbers of heads and widths");
  int64_t heads = typeOf(query).getDimSize(1), shared = typeOf(key).getDimSize(1);
  if (!shared || heads % shared)
    return emitOpError() << "has " << heads << " heads of queries, which " << shared
                         << " of keys do not divide";
  if (!agree(key, 1, value, 1) || !agree(query, 1, output, 1))
    return emitOpError("has operands whose numbers of heads differ");
  if (!agree(query, 3, key, 3) || !agree(value, 3, output, 3))
    return emitOpError("has operands whose widths differ");
  if (!agree(key, 2, value, 2) || !agree(query, 2, output, 2))
    return emitOpError("has operands whose numbers of tokens differ");
  for (Value each : {key, value, output})
    if (!agree(query, 0, each, 0))
      return emitOpError("has operands whose numbers of rows differ");
  if (mask &&
      !(broadcasts(mask, 0, query, 0) && broadcasts(mask, 1, query, 1) && broadcasts(mask, 2, query, 2)))
    return emitOpError("has a mask that does not fit its query");
  if (getWindow() && !getCausal())
    return emitOpError("has a window, which needs causal");
  if (getState() && getState()->size() != 2)
    return emitOpError("needs the numbers of two states, of keys and of values");
  return success();
}
