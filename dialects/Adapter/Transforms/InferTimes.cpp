// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-infer-times, and the analysis behind it. Times are declared on sites and scopes; written on every
// op they would rot with each fold.
#include "dialects/Adapter/Transforms/BindingTimes.h"
#include "dialects/Adapter/Transforms/Passes.h"
#include "mlir/Analysis/DataFlow/Utils.h"
#include "mlir/Analysis/DataFlowFramework.h"

namespace adapter {
#define GEN_PASS_DEF_INFERTIMESPASS
#include "dialects/Adapter/Transforms/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static std::optional<BindingTime> declaredTime(Operation *op) {
  auto declared = op->getAttrOfType<BindingTimeAttr>(declaredTimeAttribute);
  return declared ? std::optional(declared.getValue()) : std::nullopt;
}

LogicalResult BindingTimeAnalysis::visitOperation(Operation *op, ArrayRef<const TimeLattice *> operands,
                                                  ArrayRef<TimeLattice *> results) {
  KnownAt known{BindingTime::Build};
  if (auto select = dyn_cast<SelectOp>(op)) {
    if (auto site = SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, select.getSiteAttr()))
      known.time = site.getTime();
  }
  for (const TimeLattice *operand : operands)
    known = KnownAt::join(known, operand->getValue());
  // A value may be computed later than it could be.
  known = KnownAt::join(known, {declaredTime(op)});
  for (TimeLattice *result : results)
    propagateIfChanged(result, result->join(known));
  return success();
}

void BindingTimeAnalysis::setToEntryState(TimeLattice *lattice) {
  propagateIfChanged(lattice, lattice->join(KnownAt{BindingTime::Call}));
}

namespace {
struct InferTimesPass final : adapter::impl::InferTimesPassBase<InferTimesPass> {
  using Base::Base;

  LogicalResult annotate(Operation *op, DataFlowSolver &solver) {
    KnownAt known;
    for (Value result : op->getResults())
      if (const auto *lattice = solver.lookupState<TimeLattice>(result))
        known = KnownAt::join(known, lattice->getValue());
    if (!known.time)
      return success();
    std::optional<BindingTime> declared = declaredTime(op);
    if (declared && *declared < *known.time)
      return op->emitError() << "declares its result known at " << stringifyBindingTime(*declared)
                             << ", but it depends on what is known at " << stringifyBindingTime(*known.time);
    op->setAttr(inferredTimeAttribute, BindingTimeAttr::get(&getContext(), *known.time));
    return success();
  }

  void runOnOperation() override {
    DataFlowSolver solver;
    dataflow::loadBaselineAnalyses(solver);
    solver.load<BindingTimeAnalysis>();
    if (failed(solver.initializeAndRun(getOperation())))
      return signalPassFailure();
    WalkResult result = getOperation()->walk([&](Operation *op) {
      return failed(annotate(op, solver)) ? WalkResult::interrupt() : WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
