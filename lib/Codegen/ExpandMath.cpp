// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-expand-math: compiled code calls no libm.
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Math/Transforms/Passes.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Transforms/GreedyPatternRewriteDriver.h"

namespace adapter {
#define GEN_PASS_DEF_EXPANDMATHPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;

// What processors do in an instruction or two, and LLVM lowers without a library.
static bool isNative(Operation *op) {
  return isa<math::AbsFOp, math::AbsIOp, math::CeilOp, math::FloorOp, math::TruncOp, math::RoundEvenOp,
             math::SqrtOp, math::FmaOp, math::CopySignOp, math::CtPopOp, math::CountLeadingZerosOp,
             math::CountTrailingZerosOp, math::IsNaNOp, math::IsFiniteOp, math::IsInfOp>(op);
}

namespace {
struct ExpandMathPass final : adapter::impl::ExpandMathPassBase<ExpandMathPass> {
  using Base::Base;
  void runOnOperation() override {
    {
      RewritePatternSet patterns(&getContext());
      math::populateExpansionPatterns(patterns,
                                      {"powf", "fpowi", "exp2f", "round", "rsqrt", "tan", "sinh", "cosh"});
      if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
        return signalPassFailure();
    }
    RewritePatternSet patterns(&getContext());
    auto all = [](StringRef name) {
      return name != math::SqrtOp::getOperationName() && name != math::RsqrtOp::getOperationName();
    };
    populateMathF32ExpansionPatterns(patterns, all);
    populateMathPolynomialApproximationPatterns(patterns, all);
    adapter::populateMathF64Patterns(patterns);
    if (failed(applyPatternsGreedily(getOperation(), std::move(patterns))))
      return signalPassFailure();
    WalkResult result = getOperation()->walk([](Operation *op) {
      if (!isa_and_nonnull<math::MathDialect>(op->getDialect()) || isNative(op))
        return WalkResult::advance();
      op->emitError() << op->getName() << " on " << op->getOperand(0).getType() << " has no expansion";
      return WalkResult::interrupt();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
