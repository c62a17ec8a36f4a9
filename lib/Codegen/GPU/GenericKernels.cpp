// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// linalg.generic on device buffers. Without reductions one thread computes each point, neighbours in memory
// by neighbouring threads. A reduction over what lies together in memory is done by a group for each point
// of the result, other reductions by one thread for each.
#include "lib/Codegen/GPU/GenericBody.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;

namespace {
class GenericKernel {
public:
  GenericKernel(linalg::GenericOp op, ImplicitLocOpBuilder &b, const DeviceStrategy &strategy,
                KernelChecks &checks)
      : op(op), b(b), k(b, strategy, op.getNumReductionLoops() ? "reduction" : "elementwise"),
        body(op, k, checks) {}

  void emit() {
    body.flatten();
    for (Range range : cast<linalg::LinalgOp>(op.getOperation()).createLoopRanges(b, op.getLoc()))
      sizes.push_back(getValueOrCreateConstantIndexOp(b, op.getLoc(), range.size));
    op.getParallelDims(parallel);
    op.getReductionDims(reduction);
    if (reduction.empty())
      emitPoints();
    else if (std::optional<SmallVector<Operation *>> combiners = reducesTogether())
      emitGroups(*combiners);
    else
      emitThreads();
    op.erase();
  }

private:
  SmallVector<Value> sizesOf(ArrayRef<unsigned> dims) {
    return llvm::map_to_vector(dims, [&](unsigned dim) { return sizes[dim]; });
  }

  void setIndices(SmallVectorImpl<Value> &indices, ArrayRef<unsigned> dims, Value linear) {
    for (auto [dim, index] : llvm::zip(dims, k.delinearise(linear, sizesOf(dims))))
      indices[dim] = index;
  }

  void emitPoints() {
    Value count = k.product(sizesOf(parallel));
    k.beginElements(count);
    k.forElements(count, [&](Value linear) {
      SmallVector<Value> indices(op.getNumLoops());
      setIndices(indices, parallel, linear);
      SmallVector<Value> outputs = body.loadOutputs(indices, /*onlyRead=*/true);
      body.storeOutputs(indices, body.emit(indices, body.loadInputs(indices), outputs));
    });
    k.finish();
  }

  // Loops over [from, extent) of the reduced dimensions, accumulators carried.
  SmallVector<Value> accumulate(SmallVector<Value> indices, Value from, Value step, Value extent,
                                ValueRange start) {
    auto loop = scf::ForOp::create(b, from, extent, step, start);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    setIndices(indices, reduction, loop.getInductionVar());
    SmallVector<Value> carried(loop.getRegionIterArgs());
    scf::YieldOp::create(b, body.emit(indices, body.loadInputs(indices), carried));
    return loop.getResults();
  }

  void emitThreads() {
    Value count = k.product(sizesOf(parallel)), extent = k.product(sizesOf(reduction));
    k.beginElements(count);
    k.forElements(count, [&](Value linear) {
      SmallVector<Value> indices(op.getNumLoops());
      setIndices(indices, parallel, linear);
      SmallVector<Value> start = body.loadOutputs(indices, /*onlyRead=*/false);
      body.storeOutputs(indices, accumulate(indices, k.index(0), k.index(1), extent, start));
    });
    k.finish();
  }

  // The ops that combine two partial results, if a group can reduce: each of the outputs is combined by one
  // op with a neutral element, in f32, and some input runs along memory in a reduced dimension.
  std::optional<SmallVector<Operation *>> reducesTogether() {
    bool along = llvm::any_of(op.getDpsInputOperands(), [&](OpOperand *operand) {
      AffineMap map = op.getMatchingIndexingMap(operand);
      if (!map.getNumResults())
        return false;
      auto last = dyn_cast<AffineDimExpr>(map.getResults().back());
      return last && llvm::is_contained(reduction, last.getPosition());
    });
    if (!along)
      return std::nullopt;
    SmallVector<Operation *> combiners;
    for (unsigned i = 0; i < op.getNumDpsInits(); ++i) {
      SmallVector<Operation *, 4> ops;
      if (!matchReduction(op.getRegionOutputArgs(), i, ops) || ops.size() != 1 ||
          !arith::getNeutralElement(ops.front()) || !ops.front()->getResult(0).getType().isF32())
        return std::nullopt;
      combiners.push_back(ops.front());
    }
    return combiners;
  }

  Value combine(Operation *combiner, Value x, Value y) {
    IRMapping mapping;
    mapping.map(combiner->getOperand(0), x);
    mapping.map(combiner->getOperand(1), y);
    return b.clone(*combiner, mapping)->getResult(0);
  }

  void emitGroups(ArrayRef<Operation *> combiners) {
    Value count = k.product(sizesOf(parallel)), extent = k.product(sizesOf(reduction));
    int64_t threads = k.strategy.reductionThreads;
    k.begin(count, threads, SmallVector<int64_t>(combiners.size(), threads));
    k.forGroups(count, [&](Value linear) {
      SmallVector<Value> indices(op.getNumLoops());
      setIndices(indices, parallel, linear);
      SmallVector<Value> neutral;
      for (Operation *combiner : combiners)
        neutral.push_back(arith::ConstantOp::create(b, *arith::getNeutralElement(combiner)));
      SmallVector<Value> partial = accumulate(indices, k.thread(), k.index(threads), extent, neutral);
      for (auto [i, value] : llvm::enumerate(partial))
        memref::StoreOp::create(b, value, k.shared(i), k.thread());
      gpu::BarrierOp::create(b);
      for (int64_t half = threads / 2; half > 0; half /= 2) {
        k.when(k.less(k.thread(), k.index(half)), [&] {
          for (auto [i, combiner] : llvm::enumerate(combiners)) {
            Value mine = memref::LoadOp::create(b, k.shared(i), k.thread());
            Value other = memref::LoadOp::create(b, k.shared(i), k.add(k.thread(), k.index(half)));
            memref::StoreOp::create(b, combine(combiner, mine, other), k.shared(i), k.thread());
          }
        });
        gpu::BarrierOp::create(b);
      }
      Value first = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, k.thread(), k.index(0));
      k.when(first, [&] {
        SmallVector<Value> results = body.loadOutputs(indices, /*onlyRead=*/false);
        for (auto [i, combiner] : llvm::enumerate(combiners))
          results[i] =
              combine(combiner, results[i], memref::LoadOp::create(b, k.shared(i), ValueRange{k.index(0)}));
        body.storeOutputs(indices, results);
      });
      // The next point's partial results take the same place.
      gpu::BarrierOp::create(b);
    });
    k.finish();
  }

  linalg::GenericOp op;
  ImplicitLocOpBuilder &b;
  KernelBuilder k;
  GenericBody body;
  SmallVector<Value> sizes;
  SmallVector<unsigned> parallel, reduction;
};
} // namespace

LogicalResult adapter::lowerGenericToKernel(Operation *op, const DeviceStrategy &strategy,
                                            KernelChecks &checks) {
  auto generic = cast<linalg::GenericOp>(op);
  if (!generic.hasPureBufferSemantics())
    return op->emitError("is not on buffers");
  auto isOther = [](Type type) {
    Type element = getElementTypeOrSelf(type);
    return isa<FloatType>(element) ? !element.isF32() : element.isInteger(16);
  };
  for (Type type : op->getOperandTypes())
    if (isOther(type))
      return op->emitError()
             << "tensors of " << getElementTypeOrSelf(type)
             << " have no form on devices, as yet; f32, booleans and integers of 8, 32 and 64 bits have";
  WalkResult strange = generic.getBody()->walk([&](Operation *inner) {
    for (Type type : inner->getResultTypes())
      if (isOther(type))
        return WalkResult(inner->emitError()
                          << inner->getName() << " on " << type << " has no form on devices, as yet");
    bool nested = inner->getParentOp() != op;
    if (isa<memref::StoreOp>(inner) || (nested && isa<kernel::RequireOp>(inner)))
      return WalkResult(inner->emitError() << inner->getName() << " has no form on devices");
    return WalkResult::advance();
  });
  if (strange.wasInterrupted())
    return failure();
  ImplicitLocOpBuilder b(op->getLoc(), op);
  GenericKernel(generic, b, strategy, checks).emit();
  return success();
}
