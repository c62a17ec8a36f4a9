// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-check-bounds: the bodies of forms that users bring may be valid IR and read out of bounds all the same, since
// sizes are dynamic. What they compute is checked as it runs.
#include "lib/Compile/Passes.h"
#include "lib/Forms/FormLibrary.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Interfaces/RuntimeVerifiableOpInterface.h"

namespace adapter {
#define GEN_PASS_DEF_CHECKBOUNDSPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// How often the bodies of loops may run in all, those around them counted: above what any weight of a model asks for.
static constexpr int64_t mostSteps = int64_t(1) << 30;

namespace {
class Checker {
public:
  explicit Checker(StringRef form) : start(("form '" + form + "'").str()) {}
  void check(Operation *op);

private:
  void require(OpBuilder &b, Location loc, Value holds, const Twine &what) {
    cf::AssertOp::create(b, loc, holds, (start + what).str());
  }
  void checkElement(OpBuilder &b, Location loc, Value tensor, ValueRange indices);
  void checkLoop(OpBuilder &b, scf::ForOp loop);

  std::string start;
  DenseMap<Operation *, Value> steps; // of loops, with those around them
};
} // namespace

// An element within its tensor.
void Checker::checkElement(OpBuilder &b, Location loc, Value tensor, ValueRange indices) {
  for (auto [dim, index] : llvm::enumerate(indices)) {
    Value size = tensor::DimOp::create(b, loc, tensor, dim);
    // Negative ones are large without their sign.
    Value inside = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ult, index, size);
    require(b, loc, inside, " reads or writes beyond a tensor");
  }
}

// A step forward, and few enough of them.
void Checker::checkLoop(OpBuilder &b, scf::ForOp loop) {
  Location loc = loop.getLoc();
  Value low = loop.getLowerBound(), high = loop.getUpperBound(), step = loop.getStep();
  auto number = [&](int64_t value) -> Value { return arith::ConstantIndexOp::create(b, loc, value); };
  Value zero = number(0), one = number(1);
  require(b, loc, arith::CmpIOp::create(b, loc, arith::CmpIPredicate::sgt, step, zero),
          " has a loop whose step is not positive");
  // The difference fits without its sign.
  Value runs = arith::CmpIOp::create(b, loc, arith::CmpIPredicate::slt, low, high);
  Value way = arith::SubIOp::create(b, loc, arith::SubIOp::create(b, loc, high, low), one);
  Value trips = arith::AddIOp::create(b, loc, arith::DivUIOp::create(b, loc, way, step), one);
  trips = arith::SelectOp::create(b, loc, runs, trips, zero);
  Value most = number(mostSteps), outer;
  if (auto around = loop->getParentOfType<scf::ForOp>())
    outer = steps.lookup(around);
  Value share = outer ? arith::DivUIOp::create(b, loc, most, outer).getResult() : most;
  require(b, loc, arith::CmpIOp::create(b, loc, arith::CmpIPredicate::ule, trips, share),
          " has loops of more than " + Twine(mostSteps) + " steps");
  // A loop within it is of one that runs.
  Value own = arith::MaxUIOp::create(b, loc, trips, one);
  steps[loop] = outer ? arith::MulIOp::create(b, loc, own, outer).getResult() : own;
}

void Checker::check(Operation *op) {
  OpBuilder b(op);
  if (auto extract = dyn_cast<tensor::ExtractOp>(op))
    checkElement(b, op->getLoc(), extract.getTensor(), extract.getIndices());
  else if (auto insert = dyn_cast<tensor::InsertOp>(op))
    checkElement(b, op->getLoc(), insert.getDest(), insert.getIndices());
  else if (auto loop = dyn_cast<scf::ForOp>(op))
    checkLoop(b, loop);
  else if (auto verifiable = dyn_cast<RuntimeVerifiableOpInterface>(op))
    verifiable.generateRuntimeVerification(b, op->getLoc(), [&](Operation *, StringRef text) {
      return start + ": its sizes do not fit: " + text.str();
    });
}

namespace {
struct CheckBoundsPass final : adapter::impl::CheckBoundsPassBase<CheckBoundsPass> {
  using Base::Base;
  void runOnOperation() override {
    auto form = getOperation()->getAttrOfType<StringAttr>(checkedAttribute);
    if (!form)
      return;
    // Loops before what is in them.
    SmallVector<Operation *> ops;
    getOperation().walk<WalkOrder::PreOrder>([&](Operation *op) {
      if (isa<tensor::ExtractOp, tensor::InsertOp, scf::ForOp, RuntimeVerifiableOpInterface>(op))
        ops.push_back(op);
    });
    Checker checker(form);
    bool areTrusted = getOperation()->hasAttr(trustedLoopsAttribute);
    for (Operation *op : ops)
      if (!areTrusted || !isa<scf::ForOp>(op))
        checker.check(op);
  }
};
} // namespace
