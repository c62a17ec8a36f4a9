// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-outline-parallel: bodies of parallel loops become functions. What a body captures is passed as
// arguments, parameters among them, so that equal bodies of repeated layers are one function.
#include "adapter/Pipelines.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/Transforms/RegionUtils.h"

namespace adapter {
#define GEN_PASS_DEF_OUTLINEPARALLELPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
class Outliner {
public:
  explicit Outliner(ModuleOp module) : module(module) {}

  void outline(kernel::ParallelOp loop) {
    ImplicitLocOpBuilder b(loop.getLoc(), loop);
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(loop.getBody(), captured);
    SmallVector<Value> constants, operands;
    for (Value value : captured)
      (isa_and_nonnull<arith::ConstantOp>(value.getDefiningOp()) ? constants : operands).push_back(value);

    func::FuncOp body = makeBody(loop, constants, operands);
    func::FuncOp launch = findOrMakeLaunch(body);
    SmallVector<Value> arguments{loop.getCount(), loop.getGrain()};
    arguments.append(operands);
    func::CallOp::create(b, launch, arguments);
    loop.erase();
  }

private:
  // A graph is one long function. With loops inlined into it, optimising it takes time that grows faster than it does.
  static void keepApart(func::FuncOp function) {
    Builder builder(function.getContext());
    function->setAttr("passthrough", builder.getStrArrayAttr({"noinline"}));
  }

  func::FuncOp makeBody(kernel::ParallelOp loop, ArrayRef<Value> constants, ArrayRef<Value> operands) {
    ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    SmallVector<Type> types{b.getIndexType(), b.getIndexType()};
    llvm::append_range(types, ValueRange(operands).getTypes());
    auto body = func::FuncOp::create(b, "kernel.body.new", b.getFunctionType(types, {}));
    body.setPrivate();
    keepApart(body);
    Block *entry = body.addEntryBlock();
    b.setInsertionPointToStart(entry);
    IRMapping mapping;
    for (Value constant : constants)
      mapping.map(constant, b.clone(*constant.getDefiningOp())->getResult(0));
    for (auto [operand, argument] : llvm::zip(operands, entry->getArguments().drop_front(2)))
      mapping.map(operand, argument);
    Value one = arith::ConstantIndexOp::create(b, 1);
    auto range = scf::ForOp::create(b, entry->getArgument(0), entry->getArgument(1), one);
    func::ReturnOp::create(b);
    b.setInsertionPointToStart(range.getBody());
    mapping.map(loop.getBody().getArgument(0), range.getInductionVar());
    for (Operation &op : loop.getBody().front().without_terminator())
      b.clone(op, mapping);
    serialise(body);
    return body;
  }

  // Parallel loops inside a parallel loop run in its thread.
  void serialise(func::FuncOp body) {
    SmallVector<kernel::ParallelOp> nested;
    body.walk<WalkOrder::PreOrder>([&](kernel::ParallelOp loop) { nested.push_back(loop); });
    for (kernel::ParallelOp loop : nested) {
      ImplicitLocOpBuilder b(loop.getLoc(), loop);
      auto range = scf::ForOp::create(b, arith::ConstantIndexOp::create(b, 0), loop.getCount(),
                                      arith::ConstantIndexOp::create(b, 1));
      loop.getBody().getArgument(0).replaceAllUsesWith(range.getInductionVar());
      loop.getBody().front().getTerminator()->erase();
      range.getBody()->getOperations().splice(range.getBody()->begin(),
                                              loop.getBody().front().getOperations());
      loop.erase();
    }
  }

  func::FuncOp findOrMakeLaunch(func::FuncOp body) {
    llvm::hash_code hash(mlir::hash_value(static_cast<Type>(body.getFunctionType())));
    body.walk([&](Operation *op) {
      if (op != body)
        hash = llvm::hash_combine(hash, op->getName().getTypeID(), op->getNumOperands(),
                                  op->getDiscardableAttrDictionary());
    });
    for (auto &[twin, launch] : bodies[static_cast<size_t>(hash)])
      if (twin.getFunctionType() == body.getFunctionType() &&
          OperationEquivalence::isRegionEquivalentTo(&twin.getBody(), &body.getBody(),
                                                     OperationEquivalence::IgnoreLocations)) {
        body.erase();
        return launch;
      }
    std::string name = ("kernel.body" + Twine(count)).str();
    body.setName(name);
    ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
    b.setInsertionPointToEnd(module.getBody());
    auto launch = func::FuncOp::create(b, ("kernel.launch" + Twine(count++)).str(), body.getFunctionType());
    launch.setPrivate();
    keepApart(launch);
    launch->setAttr("kernel.launch", FlatSymbolRefAttr::get(b.getContext(), name));
    bodies[static_cast<size_t>(hash)].emplace_back(body, launch);
    return launch;
  }

  ModuleOp module;
  int64_t count = 0;
  llvm::DenseMap<size_t, SmallVector<std::pair<func::FuncOp, func::FuncOp>>> bodies;
};
} // namespace

// Every function takes the call's frame first and hands it on.
static void threadFrame(ModuleOp module) {
  auto pointer = LLVM::LLVMPointerType::get(module.getContext());
  for (auto function : module.getOps<func::FuncOp>()) {
    auto type = function.getFunctionType();
    SmallVector<Type> inputs{pointer};
    llvm::append_range(inputs, type.getInputs());
    function.setFunctionType(FunctionType::get(module.getContext(), inputs, type.getResults()));
    function.removeArgAttrsAttr();
    if (!function.isDeclaration())
      function.getBody().insertArgument(0u, pointer, function.getLoc());
  }
  module.walk([](func::CallOp call) {
    call->insertOperands(0, call->getParentOfType<func::FuncOp>().getArgument(0));
  });
}

// Public functions are entry points: what their tensors look like is kept for bind-host.
static void markEntries(ModuleOp module) {
  Builder builder(module.getContext());
  auto types = [&](TypeRange range) {
    return builder.getArrayAttr(
        llvm::map_to_vector(range, [](Type type) -> Attribute { return TypeAttr::get(type); }));
  };
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function.isPublic() || function.isDeclaration())
      continue;
    auto placed = function->getAttrOfType<DenseI64ArrayAttr>("kernel.placed");
    function->setAttr(
        "kernel.entry",
        builder.getDictionaryAttr(
            {builder.getNamedAttr("symbol", builder.getStringAttr(entrySymbol(function.getName()))),
             builder.getNamedAttr("inputs", types(function.getArgumentTypes())),
             builder.getNamedAttr("outputs", types(function.getResultTypes())),
             builder.getNamedAttr("placed", placed ? placed : builder.getDenseI64ArrayAttr({}))}));
    function->removeAttr("kernel.placed");
  }
}

namespace {
struct OutlineParallelPass final : adapter::impl::OutlineParallelPassBase<OutlineParallelPass> {
  using Base::Base;
  void runOnOperation() override {
    Outliner outliner(getOperation());
    SmallVector<kernel::ParallelOp> outermost;
    getOperation()->walk<WalkOrder::PreOrder>([&](kernel::ParallelOp loop) {
      outermost.push_back(loop);
      return WalkResult::skip();
    });
    for (kernel::ParallelOp loop : outermost)
      outliner.outline(loop);
    markEntries(getOperation());
    threadFrame(getOperation());
  }
};
} // namespace
