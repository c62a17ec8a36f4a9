// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Lifetimes of buffers: after bufferisation a graph is straight-line code, so the last use of a buffer is the
// last operation of its block that touches it or a view of it. Whatever buffer an operation returns may be a
// view of those that it takes, within its regions too.
#include "lib/Codegen/Lifetimes.h"
#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/Operation.h"

using namespace mlir;

static Operation *lastUse(Value value, Block *block, Operation *last) {
  for (Operation *user : value.getUsers()) {
    Operation *here = block->findAncestorOpInBlock(*user);
    if (!here || here->hasTrait<OpTrait::IsTerminator>())
      return nullptr;
    if (!last || last->isBeforeInBlock(here))
      last = here;
    for (Value result : here->getResults())
      if (isa<BaseMemRefType>(result.getType())) {
        last = lastUse(result, block, last);
        if (!last)
          return nullptr;
      }
  }
  return last;
}

Operation *adapter::lastUse(Value buffer, Block *block) {
  return ::lastUse(buffer, block, buffer.getDefiningOp());
}
