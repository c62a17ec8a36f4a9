// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// linalg.generic on device buffers. Without reductions one thread computes each point, neighbours in memory
// by neighbouring threads. A reduction over what lies together in memory is done by a group for each point
// of the result, other reductions by one thread for each.
#include "lib/Codegen/GPU/KernelBuilder.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Affine/Utils.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/SCF/IR/SCF.h"

using namespace mlir;
using namespace adapter;

namespace {
class GenericKernel {
public:
  GenericKernel(linalg::GenericOp op, ImplicitLocOpBuilder &b, const DeviceStrategy &strategy,
                KernelChecks &checks)
      : op(op), b(b), k(b, strategy, op.getNumReductionLoops() ? "reduction" : "elementwise"),
        checks(checks) {}

  void emit() {
    flattenAll();
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
  // Buffers of operands and of what the body reads by itself.
  void flattenAll() {
    auto add = [&](Value value) {
      if (isa<MemRefType>(value.getType()) && !buffers.count(value))
        buffers[value] = k.flatten(value);
    };
    llvm::for_each(op->getOperands(), add);
    op.getBody()->walk([&](Operation *inner) { llvm::for_each(inner->getOperands(), add); });
    if (op.getBody()->walk([](cf::AssertOp) { return WalkResult::interrupt(); }).wasInterrupted())
      status = k.flatten(checks.status(op));
  }

  SmallVector<Value> sizesOf(ArrayRef<unsigned> dims) {
    return llvm::map_to_vector(dims, [&](unsigned dim) { return sizes[dim]; });
  }

  SmallVector<Value> positionOf(OpOperand &operand, ArrayRef<Value> indices) {
    SmallVector<Value> result;
    for (AffineExpr expr : op.getMatchingIndexingMap(&operand).getResults())
      result.push_back(affine::expandAffineExpr(b, b.getLoc(), expr, indices, {}));
    return result;
  }

  SmallVector<Value> loadInputs(ArrayRef<Value> indices) {
    SmallVector<Value> loaded;
    for (OpOperand *operand : op.getDpsInputOperands())
      loaded.push_back(isa<MemRefType>(operand->get().getType())
                           ? k.load(buffers[operand->get()], positionOf(*operand, indices))
                           : operand->get());
    return loaded;
  }

  SmallVector<Value> loadOutputs(ArrayRef<Value> indices, bool onlyRead) {
    SmallVector<Value> loaded;
    for (auto [operand, argument] : llvm::zip(op.getDpsInitsMutable(), op.getRegionOutputArgs()))
      loaded.push_back(onlyRead && argument.use_empty()
                           ? Value()
                           : k.load(buffers[operand.get()], positionOf(operand, indices)));
    return loaded;
  }

  void storeOutputs(ArrayRef<Value> indices, ValueRange values) {
    for (auto [operand, value] : llvm::zip(op.getDpsInitsMutable(), values))
      k.store(value, buffers[operand.get()], positionOf(operand, indices));
  }

  // The body at one point; returns what it yields.
  SmallVector<Value> emitBody(ArrayRef<Value> indices, ArrayRef<Value> inputs, ArrayRef<Value> outputs) {
    IRMapping mapping;
    for (auto [argument, value] :
         llvm::zip(op.getBody()->getArguments(), llvm::concat<const Value>(inputs, outputs)))
      if (value)
        mapping.map(argument, value);
    return emitFrom(op.getBody()->begin(), indices, mapping);
  }

  // What follows a failed check is not evaluated: it may read beyond a buffer. Zeros take its place and the
  // host fails the call.
  SmallVector<Value> emitFrom(Block::iterator at, ArrayRef<Value> indices, IRMapping &mapping) {
    for (; !at->hasTrait<OpTrait::IsTerminator>(); ++at) {
      if (auto index = dyn_cast<linalg::IndexOp>(*at)) {
        mapping.map(index.getResult(), indices[index.getDim()]);
      } else if (auto load = dyn_cast<memref::LoadOp>(*at)) {
        SmallVector<Value> where = llvm::map_to_vector(
            load.getIndices(), [&](Value value) { return mapping.lookupOrDefault(value); });
        mapping.map(load.getResult(), k.load(buffers[load.getMemRef()], where));
      } else if (auto cast = dyn_cast<arith::IndexCastOp>(*at);
                 cast && cast.getIn().getType().isInteger(64)) {
        mapping.map(cast.getResult(), toIndex(mapping.lookupOrDefault(cast.getIn())));
      } else if (auto check = dyn_cast<cf::AssertOp>(*at)) {
        return emitChecked(check, std::next(at), indices, mapping);
      } else {
        adapt(b.clone(*at, mapping), indices);
      }
    }
    return llvm::map_to_vector(at->getOperands(),
                               [&](Value value) { return mapping.lookupOrDefault(value); });
  }

  // The same for what stands in the regions of a cloned op.
  void adapt(Operation *clone, ArrayRef<Value> indices) {
    if (!clone->getNumRegions())
      return;
    SmallVector<Operation *> inner;
    clone->walk([&](Operation *op) {
      if (isa<linalg::IndexOp, memref::LoadOp, arith::IndexCastOp>(op))
        inner.push_back(op);
    });
    for (Operation *op : inner) {
      OpBuilder::InsertionGuard guard(b);
      b.setInsertionPoint(op);
      Value value;
      if (auto index = dyn_cast<linalg::IndexOp>(op))
        value = indices[index.getDim()];
      else if (auto load = dyn_cast<memref::LoadOp>(op))
        value = k.load(buffers[load.getMemRef()], SmallVector<Value>(load.getIndices()));
      else if (auto cast = dyn_cast<arith::IndexCastOp>(op); cast && cast.getIn().getType().isInteger(64))
        value = toIndex(cast.getIn());
      if (!value)
        continue;
      op->getResult(0).replaceAllUsesWith(value);
      op->erase();
    }
  }

  // An index has 32 bits on devices: what does not fit stays out of every range.
  Value toIndex(Value i64) {
    Value most = arith::ConstantOp::create(b, b.getI64IntegerAttr(INT32_MAX));
    Value least = arith::ConstantOp::create(b, b.getI64IntegerAttr(INT32_MIN));
    Value within = arith::MaxSIOp::create(b, arith::MinSIOp::create(b, i64, most), least);
    return arith::IndexCastOp::create(b, b.getIndexType(), within);
  }

  SmallVector<Value> emitChecked(cf::AssertOp check, Block::iterator rest, ArrayRef<Value> indices,
                                 IRMapping &mapping) {
    Operation *terminator = op.getBody()->getTerminator();
    auto branch = scf::IfOp::create(b, terminator->getOperandTypes(), mapping.lookupOrDefault(check.getArg()),
                                    /*withElseRegion=*/true);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(branch.thenBlock());
    scf::YieldOp::create(b, emitFrom(rest, indices, mapping));
    b.setInsertionPointToStart(branch.elseBlock());
    Value number = arith::ConstantOp::create(
        b, b.getI32IntegerAttr(static_cast<int32_t>(checks.number(check.getMsg()))));
    k.store(number, status, {k.index(0)});
    SmallVector<Value> zeros;
    for (Type type : terminator->getOperandTypes())
      zeros.push_back(arith::ConstantOp::create(b, b.getZeroAttr(type)));
    scf::YieldOp::create(b, zeros);
    return branch.getResults();
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
      SmallVector<Value> outputs = loadOutputs(indices, /*onlyRead=*/true);
      storeOutputs(indices, emitBody(indices, loadInputs(indices), outputs));
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
    scf::YieldOp::create(b, emitBody(indices, loadInputs(indices), carried));
    return loop.getResults();
  }

  void emitThreads() {
    Value count = k.product(sizesOf(parallel)), extent = k.product(sizesOf(reduction));
    k.beginElements(count);
    k.forElements(count, [&](Value linear) {
      SmallVector<Value> indices(op.getNumLoops());
      setIndices(indices, parallel, linear);
      SmallVector<Value> start = loadOutputs(indices, /*onlyRead=*/false);
      storeOutputs(indices, accumulate(indices, k.index(0), k.index(1), extent, start));
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
        SmallVector<Value> results = loadOutputs(indices, /*onlyRead=*/false);
        for (auto [i, combiner] : llvm::enumerate(combiners))
          results[i] =
              combine(combiner, results[i], memref::LoadOp::create(b, k.shared(i), ValueRange{k.index(0)}));
        storeOutputs(indices, results);
      });
      // The next point's partial results take the same place.
      gpu::BarrierOp::create(b);
    });
    k.finish();
  }

  linalg::GenericOp op;
  ImplicitLocOpBuilder &b;
  KernelBuilder k;
  KernelChecks &checks;
  llvm::DenseMap<Value, FlatBuffer> buffers;
  FlatBuffer status;
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
    if (isa<memref::StoreOp>(inner) || (nested && isa<cf::AssertOp>(inner)))
      return WalkResult(inner->emitError() << inner->getName() << " has no form on devices");
    return WalkResult::advance();
  });
  if (strange.wasInterrupted())
    return failure();
  ImplicitLocOpBuilder b(op->getLoc(), op);
  GenericKernel(generic, b, strategy, checks).emit();
  return success();
}
