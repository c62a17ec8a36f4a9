// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-collect-kernels: one module of kernels, one form of arguments.
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_COLLECTKERNELSPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// Words that a scalar of this type takes as an argument; 0 for types that kernels are not given.
static unsigned wordsOf(Type type) {
  if (type.isInteger(64))
    return 2;
  return type.isIndex() || type.isF32() || type.isInteger(32) || type.isInteger(1) ? 1 : 0;
}

static void toWords(OpBuilder &b, Location loc, Value value, SmallVectorImpl<Value> &words) {
  Type type = value.getType(), i32 = b.getI32Type();
  if (type == i32) {
    words.push_back(value);
  } else if (type.isIndex()) {
    words.push_back(arith::IndexCastOp::create(b, loc, i32, value));
  } else if (type.isF32()) {
    words.push_back(arith::BitcastOp::create(b, loc, i32, value));
  } else if (type.isInteger(1)) {
    words.push_back(arith::ExtUIOp::create(b, loc, i32, value));
  } else {
    Value shift = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(32));
    words.push_back(arith::TruncIOp::create(b, loc, i32, value));
    words.push_back(
        arith::TruncIOp::create(b, loc, i32, arith::ShRUIOp::create(b, loc, value, shift).getResult()));
  }
}

static Value fromWords(OpBuilder &b, Location loc, ValueRange words, Type type) {
  if (type.isIndex())
    return arith::IndexCastOp::create(b, loc, type, words[0]);
  if (type.isF32())
    return arith::BitcastOp::create(b, loc, type, words[0]);
  if (type.isInteger(1))
    return arith::TruncIOp::create(b, loc, type, words[0]);
  if (type.isInteger(32))
    return words[0];
  Value shift = arith::ConstantOp::create(b, loc, b.getI64IntegerAttr(32));
  Value low = arith::ExtUIOp::create(b, loc, type, words[0]),
        high = arith::ExtUIOp::create(b, loc, type, words[1]);
  return arith::OrIOp::create(b, loc, low, arith::ShLIOp::create(b, loc, high, shift).getResult());
}

namespace {
class Collector {
public:
  explicit Collector(ModuleOp module) : module(module), builder(module.getContext()) {}

  LogicalResult collect(gpu::LaunchFuncOp launch) {
    auto kernel = cast<gpu::GPUFuncOp>(SymbolTable::lookupNearestSymbolFrom(launch, launch.getKernel()));
    SmallVector<unsigned> order;
    for (bool buffers : {true, false})
      for (auto [i, operand] : llvm::enumerate(launch.getKernelOperands()))
        if (!operand.getDefiningOp<arith::ConstantOp>() && isa<MemRefType>(operand.getType()) == buffers)
          order.push_back(i);
    OpBuilder b(launch);
    SmallVector<Value> operands;
    for (unsigned i : order) {
      Value operand = launch.getKernelOperand(i);
      if (isa<MemRefType>(operand.getType()))
        operands.push_back(
            b.createOrFold<memref::CastOp>(launch.getLoc(), sizeless(operand.getType()), operand));
      else if (wordsOf(operand.getType()))
        toWords(b, launch.getLoc(), operand, operands);
      else
        return launch.emitError() << "a value of type " << operand.getType()
                                  << " cannot be passed to a kernel";
    }
    FailureOr<int64_t> threads = threadsOf(launch);
    if (failed(threads))
      return launch.emitError("a kernel's group has a size that is not known");
    rearrange(kernel, launch, order, *threads);
    auto symbol = add(kernel);
    gpu::LaunchFuncOp::create(b, launch.getLoc(), symbol, launch.getGridSizeOperandValues(),
                              launch.getBlockSizeOperandValues(), Value(), operands);
    launch.erase();
    return success();
  }

  void finish() {
    for (auto each : llvm::make_early_inc_range(module.getOps<gpu::GPUModuleOp>()))
      if (each != kernels)
        each.erase();
    SmallVector<Attribute> table;
    for (gpu::GPUFuncOp kernel : list) {
      int64_t buffers =
          llvm::count_if(kernel.getArgumentTypes(), [](Type type) { return isa<MemRefType>(type); });
      auto number = [&](StringRef name, int64_t value) {
        return builder.getNamedAttr(name, builder.getI64IntegerAttr(value));
      };
      table.push_back(builder.getDictionaryAttr(
          {builder.getNamedAttr("name", builder.getStringAttr(kernel.getName())),
           number("threads", (*kernel.getKnownBlockSize())[0]), number("buffers", buffers),
           number("scalars", kernel.getNumArguments() - buffers)}));
    }
    module->setAttr(kernelTable, builder.getArrayAttr(table));
  }

private:
  static FailureOr<int64_t> threadsOf(gpu::LaunchFuncOp launch) {
    std::optional<int64_t> size = getConstantIntValue(launch.getBlockSizeX());
    if (!size)
      return failure();
    return *size;
  }

  // A buffer of any size, so that kernels that differ in sizes alone are one.
  static MemRefType sizeless(Type type) {
    auto memref = cast<MemRefType>(type);
    return MemRefType::get({ShapedType::kDynamic}, memref.getElementType(), MemRefLayoutAttrInterface(),
                           memref.getMemorySpace());
  }

  // Brings the kernel's arguments into this order, scalars as words. Constants go into the kernel.
  void rearrange(gpu::GPUFuncOp kernel, gpu::LaunchFuncOp launch, ArrayRef<unsigned> order, int64_t threads) {
    Block &entry = kernel.getBody().front();
    OpBuilder b = OpBuilder::atBlockBegin(&entry);
    unsigned count = kernel.getNumArguments();
    for (auto [argument, operand] : llvm::zip(entry.getArguments(), launch.getKernelOperands()))
      if (auto constant = operand.getDefiningOp<arith::ConstantOp>())
        argument.replaceAllUsesWith(b.clone(*constant)->getResult(0));
    SmallVector<Type> types;
    for (unsigned i : order) {
      BlockArgument old = entry.getArgument(i);
      bool isBuffer = isa<MemRefType>(old.getType());
      SmallVector<Value> made;
      for (unsigned word = 0; word < (isBuffer ? 1 : wordsOf(old.getType())); ++word) {
        types.push_back(isBuffer ? Type(sizeless(old.getType())) : b.getI32Type());
        made.push_back(entry.insertArgument(count + types.size() - 1, types.back(), old.getLoc()));
      }
      old.replaceAllUsesWith(isBuffer ? made.front() : fromWords(b, old.getLoc(), made, old.getType()));
    }
    entry.eraseArguments(0, count);
    kernel.setFunctionType(b.getFunctionType(types, {}));
    int32_t size[] = {static_cast<int32_t>(threads), 1, 1};
    kernel.setKnownBlockSize(ArrayRef<int32_t>(size));
  }

  // The symbol of this kernel or of an equal one.
  SymbolRefAttr add(gpu::GPUFuncOp kernel) {
    if (!kernels) {
      OpBuilder b = OpBuilder::atBlockEnd(module.getBody());
      kernels = gpu::GPUModuleOp::create(b, module.getLoc(), kernelModule);
    }
    auto symbolOf = [&](gpu::GPUFuncOp function) {
      return SymbolRefAttr::get(builder.getContext(), kernelModule,
                                {FlatSymbolRefAttr::get(builder.getContext(), function.getName())});
    };
    llvm::hash_code hash = mlir::hash_value(static_cast<Type>(kernel.getFunctionType()));
    kernel.walk([&](Operation *op) { hash = llvm::hash_combine(hash, op->getName().getTypeID()); });
    SmallVector<gpu::GPUFuncOp> &similar = byHash[static_cast<size_t>(hash)];
    for (gpu::GPUFuncOp twin : similar)
      if (twin.getFunctionType() == kernel.getFunctionType() &&
          twin.getKnownBlockSize() == kernel.getKnownBlockSize() &&
          OperationEquivalence::isRegionEquivalentTo(&twin.getBody(), &kernel.getBody(),
                                                     OperationEquivalence::IgnoreLocations))
        return symbolOf(twin);
    kernel->moveBefore(kernels.getBody(), kernels.getBody()->end());
    kernel.setName(("k" + Twine(list.size()) + "_" + kernel.getName()).str());
    similar.push_back(kernel);
    list.push_back(kernel);
    return symbolOf(kernel);
  }

  ModuleOp module;
  Builder builder;
  gpu::GPUModuleOp kernels;
  SmallVector<gpu::GPUFuncOp> list;
  llvm::DenseMap<size_t, SmallVector<gpu::GPUFuncOp>> byHash;
};

struct CollectKernelsPass final : adapter::impl::CollectKernelsPassBase<CollectKernelsPass> {
  using Base::Base;
  void runOnOperation() override {
    Collector collector(getOperation());
    SmallVector<gpu::LaunchFuncOp> launches;
    getOperation()->walk([&](gpu::LaunchFuncOp launch) { launches.push_back(launch); });
    for (gpu::LaunchFuncOp launch : launches)
      if (failed(collector.collect(launch)))
        return signalPassFailure();
    collector.finish();
  }
};
} // namespace
