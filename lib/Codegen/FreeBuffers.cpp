// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-free-buffers: after bufferisation a graph is straight-line code, so the last use of a buffer is the
// last operation of its block that touches it or a view of it.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace adapter {
#define GEN_PASS_DEF_FREEBUFFERSPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;

// The last operation of `block` that uses value or a view of it; null when it leaves the block.
static Operation *lastUse(Value value, Block *block, Operation *last) {
  for (Operation *user : value.getUsers()) {
    Operation *here = block->findAncestorOpInBlock(*user);
    if (!here || here->hasTrait<OpTrait::IsTerminator>())
      return nullptr;
    if (last->isBeforeInBlock(here))
      last = here;
    for (Value result : user->getResults())
      if (isa<MemRefType>(result.getType()) && here == user) {
        last = lastUse(result, block, last);
        if (!last)
          return nullptr;
      }
  }
  return last;
}

namespace {
struct FreeBuffersPass final : adapter::impl::FreeBuffersPassBase<FreeBuffersPass> {
  using Base::Base;
  void runOnOperation() override {
    getOperation()->walk([](memref::AllocOp alloc) {
      if (Operation *last = lastUse(alloc, alloc->getBlock(), alloc)) {
        OpBuilder builder(last->getContext());
        builder.setInsertionPointAfter(last);
        memref::DeallocOp::create(builder, alloc.getLoc(), alloc);
      }
    });
  }
};
} // namespace
