// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter.attention.
#include "dialects/Adapter/IR/AdapterOps.h"

using namespace mlir;
using namespace adapter;

static ArrayRef<int64_t> shapeOf(Value value) { return cast<RankedTensorType>(value.getType()).getShape(); }

static bool agree(int64_t a, int64_t b) {
  return ShapedType::isDynamic(a) || ShapedType::isDynamic(b) || a == b;
}

LogicalResult AttentionOp::verify() {
  ArrayRef<int64_t> query = shapeOf(getQuery()), key = shapeOf(getKey()), value = shapeOf(getValue());
  ArrayRef<int64_t> result = shapeOf(getResult());
  for (ArrayRef<int64_t> shape : {query, key, value, result}) {
    if (shape.size() != 4)
      return emitOpError("needs queries, keys, values and a result of rank 4");
    if (ShapedType::isDynamic(shape[1]) || ShapedType::isDynamic(shape[3]))
      return emitOpError("needs static numbers of heads and widths");
  }
  if (!key[1] || query[1] % key[1])
    return emitOpError() << "has " << query[1] << " heads of queries, which " << key[1]
                         << " of keys do not divide";
  if (key[1] != value[1] || query[1] != result[1])
    return emitOpError("has operands whose numbers of heads differ");
  if (query[3] != key[3] || value[3] != result[3])
    return emitOpError("has operands whose widths differ");
  if (!agree(key[2], value[2]) || !agree(query[2], result[2]))
    return emitOpError("has operands whose numbers of tokens differ");
  if (getMask() && shapeOf(getMask()).size() > 4)
    return emitOpError("has a mask of more than 4 dimensions");
  if (getWindow() && !getCausal())
    return emitOpError("has a window, which needs causal");
  if (getState() && getState()->size() != 2)
    return emitOpError("needs the numbers of two states, of keys and of values");
  return success();
}
