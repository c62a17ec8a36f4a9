// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-lower-divisions: bodies of forms divide a dimension into several of dynamic sizes, and fusion makes more of
// that. Upstream's lowering of memory cannot, kernel.reshape can.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/Passes.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERDIVISIONSPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static bool dividesDynamically(tensor::ExpandShapeOp op) {
  return llvm::any_of(op.getReassociationIndices(), [&](const ReassociationIndices &group) {
    return llvm::count_if(group, [&](int64_t dim) { return op.getResultType().isDynamicDim(dim); }) > 1;
  });
}

namespace {
struct LowerDivisionsPass : adapter::impl::LowerDivisionsPassBase<LowerDivisionsPass> {
  using LowerDivisionsPassBase::LowerDivisionsPassBase;
  void runOnOperation() override {
    SmallVector<tensor::ExpandShapeOp> divisions;
    getOperation()->walk([&](tensor::ExpandShapeOp op) {
      if (dividesDynamically(op))
        divisions.push_back(op);
    });
    for (tensor::ExpandShapeOp op : divisions) {
      OpBuilder b(op);
      auto same = kernel::ReshapeOp::create(b, op.getLoc(), op.getType(), op.getSrc(), op.getOutputShape());
      op.getResult().replaceAllUsesWith(same.getResult());
      op.erase();
    }
  }
};
} // namespace
