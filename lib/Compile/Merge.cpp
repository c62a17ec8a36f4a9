// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-merge: merging as partial evaluation. The slice behind each adapter.materialize becomes a function
// of the parameters it reads, with all sizes dynamic where no update says that they matter, so that one
// compilation serves every layer that is adapted in the same way.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/Evaluate.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"

#define DEBUG_TYPE "adapter-merge"

namespace adapter {
#define GEN_PASS_DEF_MERGEPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using checkpoint::Result;
using checkpoint::Tensor;

static constexpr const char *functionName = "evaluate";

// The type with all sizes dynamic.
static Type withoutSizes(Type type) {
  if (auto update = dyn_cast<UpdateType>(type))
    return UpdateType::get(type.getContext(), cast<RankedTensorType>(withoutSizes(update.getWeight())));
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return type;
  SmallVector<int64_t> sizes(tensor.getRank(), ShapedType::kDynamic);
  return RankedTensorType::get(sizes, tensor.getElementType());
}

namespace {
// What one adapter.materialize is computed from.
struct Slice {
  SetVector<Operation *> ops; // in order, the parameters left out
  SetVector<Operation *> parameters;
};

struct MergePass final : adapter::impl::MergePassBase<MergePass> {
  MergePass() = default;
  MergePass(const MergePass &other) : MergePassBase(other) {} // compiled forms stay with their pass

  FailureOr<Slice> sliceOf(MaterializeOp op);
  OwningOpRef<ModuleOp> outline(const Slice &slice, MaterializeOp op);
  FailureOr<Evaluator *> compile(const Slice &slice, MaterializeOp op);
  LogicalResult merge(MaterializeOp op);
  void runOnOperation() override;

  llvm::StringMap<std::unique_ptr<Evaluator>> forms;
};
} // namespace

FailureOr<Slice> MergePass::sliceOf(MaterializeOp op) {
  BackwardSliceOptions options;
  options.inclusive = true;
  options.filter = [](Operation *each) { return !isa<ParameterOp>(each); };
  options.omitBlockArguments = true;
  Slice slice;
  if (failed(getBackwardSlice(op.getResult(), &slice.ops, options)))
    return failure();
  for (Operation *each : slice.ops) {
    if (!isMemoryEffectFree(each) || each->getNumRegions())
      return failure();
    for (Value operand : each->getOperands()) {
      Operation *source = operand.getDefiningOp();
      if (!source)
        return failure();
      if (isa<ParameterOp>(source))
        slice.parameters.insert(source);
    }
  }
  return slice;
}

OwningOpRef<ModuleOp> MergePass::outline(const Slice &slice, MaterializeOp op) {
  Location loc = UnknownLoc::get(&getContext());
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  OpBuilder builder(module->getBodyRegion());
  bool sizesMatter = llvm::any_of(slice.ops, [](Operation *each) {
    auto update = dyn_cast<UpdateOpInterface>(each);
    return update && update.sizesMatter();
  });
  auto typeOf = [&](Value value) { return sizesMatter ? value.getType() : withoutSizes(value.getType()); };
  SmallVector<Type> types;
  for (Operation *parameter : slice.parameters)
    types.push_back(typeOf(parameter->getResult(0)));
  auto function = func::FuncOp::create(builder, loc, functionName,
                                       builder.getFunctionType(types, typeOf(op.getResult())));
  builder.setInsertionPointToStart(function.addEntryBlock());
  IRMapping mapping;
  for (auto [parameter, argument] : llvm::zip(slice.parameters, function.getArguments()))
    mapping.map(parameter->getResult(0), argument);
  for (Operation *each : slice.ops) {
    Operation *copy = builder.clone(*each, mapping);
    copy->setLoc(loc);
    for (Value result : copy->getResults())
      result.setType(typeOf(result));
  }
  func::ReturnOp::create(builder, loc, mapping.lookup(op.getResult()));
  return module;
}

FailureOr<Evaluator *> MergePass::compile(const Slice &slice, MaterializeOp op) {
  OwningOpRef<ModuleOp> module = outline(slice, op);
  std::string text;
  llvm::raw_string_ostream(text) << **module;
  std::unique_ptr<Evaluator> &form = forms[text];
  if (form)
    return form.get();
  PassManager lowering(&getContext(), ModuleOp::getOperationName());
  lowering.addPass(createLowerMaterializePass());
  if (failed(lowering.run(*module)))
    return failure();
  Result<std::unique_ptr<Evaluator>> compiled = Evaluator::compile(*module);
  if (!compiled)
    return op.emitError() << compiled.error().message;
  ++numCompiled;
  form = std::move(*compiled);
  return form.get();
}

LogicalResult MergePass::merge(MaterializeOp op) {
  FailureOr<Slice> slice = sliceOf(op);
  if (failed(slice))
    return success(); // not known at build after all
  ParameterStore &store = ParameterStore::get(&getContext());
  SmallVector<Tensor> inputs;
  for (Operation *each : slice->parameters) {
    auto parameter = cast<ParameterOp>(each);
    const Tensor *tensor = store.lookup(parameter.getScope(), parameter.getKey());
    if (!tensor)
      return parameter.emitError() << "'" << parameter.getScope() << "'::'" << parameter.getKey()
                                   << "' has no contents to merge";
    inputs.push_back(*tensor);
    ArrayRef<int64_t> shape = cast<ShapedType>(parameter.getType()).getShape();
    inputs.back().shape.assign(shape.begin(), shape.end());
  }
  FailureOr<Evaluator *> form = compile(*slice, op);
  if (failed(form))
    return failure();
  Result<std::vector<Tensor>> result = (*form)->run(functionName, inputs);
  if (!result)
    return op.emitError() << result.error().message;
  auto base = op.getWeight().getDefiningOp<ParameterOp>();
  std::string wanted = base ? base.getKey().str() : "weight", key = wanted;
  for (int i = 1; store.lookup("merged", key); ++i)
    key = wanted + "_" + std::to_string(i);
  result->front().key = key;
  store.set("merged", key, std::move(result->front()));
  OpBuilder builder(op);
  auto merged = ParameterOp::create(builder, op.getLoc(), op.getType(), builder.getStringAttr("merged"),
                                    builder.getStringAttr(key), ElementsAttr(),
                                    base ? base.getExtraAttr() : StringAttr());
  op.replaceAllUsesWith(merged.getResult());
  ++numMerged;
  // What the weight was made of goes, where nothing else reads it.
  for (Operation *each : llvm::reverse(slice->ops))
    if (each->use_empty())
      each->erase();
  for (Operation *each : slice->parameters)
    if (each->use_empty())
      each->erase();
  return success();
}

void MergePass::runOnOperation() {
  SmallVector<MaterializeOp> ops;
  getOperation()->walk([&](MaterializeOp op) {
    if (isKnownUpdate(op.getUpdate()))
      ops.push_back(op);
  });
  // In order: the weight of one may be the result of another.
  for (MaterializeOp op : ops)
    if (failed(merge(op)))
      return signalPassFailure();
  forms.clear();
}
