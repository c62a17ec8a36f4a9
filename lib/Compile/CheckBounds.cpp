// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-check-bounds: the bodies of forms that users bring may be valid IR and read out of bounds all the same, since
// sizes are dynamic. What they compute is checked as it runs.
#include "lib/Compile/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/RuntimeVerifiableOpInterface.h"

namespace adapter {
#define GEN_PASS_DEF_CHECKBOUNDSPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// An element within its tensor.
static void checkElement(OpBuilder &b, Location loc, Value tensor, ValueRange indices) {
  for (auto [dim, index] : llvm::enumerate(indices)) {
    Value size = tensor::DimOp::create(b, loc, tensor, dim);
    // Negative ones are large without their sign.
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, index, size);
    cf::AssertOp::create(b, loc, inside, "a form reads or writes beyond a tensor");
  }
}

namespace {
struct CheckBoundsPass final : adapter::impl::CheckBoundsPassBase<CheckBoundsPass> {
  using Base::Base;
  void runOnOperation() override {
    if (!getOperation()->hasAttr(checkedAttribute))
      return;
    SmallVector<Operation *> ops;
    getOperation().walk([&](Operation *op) {
      if (isa<tensor::ExtractOp, tensor::InsertOp, RuntimeVerifiableOpInterface>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      OpBuilder b(op);
      if (auto extract = dyn_cast<tensor::ExtractOp>(op))
        checkElement(b, op->getLoc(), extract.getTensor(), extract.getIndices());
      else if (auto insert = dyn_cast<tensor::InsertOp>(op))
        checkElement(b, op->getLoc(), insert.getDest(), insert.getIndices());
      else if (auto verifiable = dyn_cast<RuntimeVerifiableOpInterface>(op))
        verifiable.generateRuntimeVerification(b, op->getLoc(), [](Operation *, StringRef text) {
          return "a form's sizes do not fit: " + text.str();
        });
    }
  }
};
} // namespace
