// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// convert-kernel-to-gpu: each region of a graph becomes a kernel.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/GPU/KernelBuilder.h"
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/Dialect/Affine/IR/AffineOps.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Transforms/Transforms.h"
#include "mlir/Dialect/Linalg/Utils/Utils.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

namespace adapter {
#define GEN_PASS_DEF_CONVERTTOLAUNCHESPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Whether the same elements are read and written.
static bool isSameView(Value x, Value y) {
  if (x == y)
    return true;
  auto viewX = x.getDefiningOp<memref::SubViewOp>(), viewY = y.getDefiningOp<memref::SubViewOp>();
  return viewX && viewY &&
         OperationEquivalence::isEquivalentTo(viewX, viewY, OperationEquivalence::IgnoreLocations);
}

// Brings everything to linalg.generic that has such a form.
static LogicalResult generalise(func::FuncOp function) {
  IRRewriter rewriter(function.getContext());
  SmallVector<memref::CopyOp> copies;
  function.walk([&](memref::CopyOp op) { copies.push_back(op); });
  for (memref::CopyOp op : copies) {
    if (!isSameView(op.getSource(), op.getTarget())) {
      OpBuilder builder(op);
      linalg::makeMemRefCopyOp(builder, op.getLoc(), op.getSource(), op.getTarget());
    }
    op.erase();
  }
  SmallVector<linalg::LinalgOp> named;
  function.walk([&](linalg::LinalgOp op) {
    if (!isa<linalg::GenericOp>(op))
      named.push_back(op);
  });
  for (linalg::LinalgOp op : named) {
    rewriter.setInsertionPoint(op);
    if (failed(linalg::generalizeNamedOp(rewriter, op)))
      return op.emitError("has no form on devices");
  }
  return success();
}

// What the host does with device buffers.
static bool isHostOp(Operation *op) {
  return isa<memref::AllocOp, memref::DeallocOp, memref::DimOp, memref::LoadOp, memref::StoreOp,
             memref::ExtractStridedMetadataOp, kernel::ReshapeOp, kernel::ParameterOp, kernel::BankNumbersOp,
             kernel::BankTableOp, kernel::RowEntriesOp, gpu::MemcpyOp, gpu::LaunchOp, ViewLikeOpInterface>(
             op) ||
         op->hasTrait<OpTrait::IsTerminator>() || isa<scf::IfOp, scf::ForOp>(op);
}

namespace {
struct ConvertToLaunchesPass final : adapter::impl::ConvertToLaunchesPassBase<ConvertToLaunchesPass> {
  using Base::Base;

  LogicalResult convert(func::FuncOp function, const DeviceStrategy &strategy, KernelChecks &checks) {
    if (failed(generalise(function)))
      return failure();
    SmallVector<Operation *> ops;
    function.walk([&](Operation *op) {
      if (isa<linalg::GenericOp, kernel::LinearOp, kernel::BatchMatmulOp, kernel::RowLinearOp,
              kernel::RowEmbeddingOp, kernel::RowVectorsOp>(op))
        ops.push_back(op);
    });
    for (Operation *op : ops) {
      LogicalResult lowered = isa<linalg::GenericOp>(op) ? lowerGenericToKernel(op, strategy, checks)
                              : isa<kernel::LinearOp, kernel::BatchMatmulOp>(op)
                                  ? lowerProductToKernel(op, strategy)
                                  : lowerRowUpdateToKernels(op, strategy);
      if (failed(lowered))
        return failure();
    }
    WalkResult left = function.walk<WalkOrder::PreOrder>([](Operation *op) {
      if (isa<gpu::LaunchOp>(op))
        return WalkResult::skip();
      if (isHostOp(op) || llvm::none_of(op->getOperandTypes(), isOnDevice))
        return WalkResult::advance();
      return WalkResult(op->emitError() << op->getName() << " has no form on devices");
    });
    return failure(left.wasInterrupted());
  }

  void runOnOperation() override {
    DeviceStrategy strategy{threads,   reductionThreads, tileRows,      tileColumns,
                            tileDepth, threadRows,       threadColumns, maxGroups};
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (!isGraph(function) || function.isDeclaration())
        continue;
      KernelChecks checks;
      if (failed(convert(function, strategy, checks)))
        return signalPassFailure();
      checks.finish();
    }
  }
};
} // namespace
