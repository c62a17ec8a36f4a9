// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-free-buffers: a memref.dealloc behind the last use of each memref.alloc that no plan has a place for.
#include "lib/Codegen/Lifetimes.h"
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"

namespace adapter {
#define GEN_PASS_DEF_FREEBUFFERSPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
struct FreeBuffersPass final : adapter::impl::FreeBuffersPassBase<FreeBuffersPass> {
  using Base::Base;
  void runOnOperation() override {
    getOperation()->walk([](memref::AllocOp alloc) {
      if (llvm::any_of(alloc->getUsers(), llvm::IsaPred<memref::DeallocOp>))
        return;
      if (Operation *last = lastUse(alloc, alloc->getBlock())) {
        OpBuilder builder(last->getContext());
        builder.setInsertionPointAfter(last);
        memref::DeallocOp::create(builder, alloc.getLoc(), alloc);
      }
    });
  }
};
} // namespace
