// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-merge: merging as partial evaluation. The slice behind each adapter.materialize becomes a function
// of the parameters it reads, with all sizes dynamic where no update says that they matter, so that one
// compilation serves every layer that is adapted in the same way.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Compile/Evaluate.h"
#include "lib/Compile/Passes.h"
#include "lib/Compile/Rounding.h"
#include "lib/Conversion/Passes.h"
#include "lib/Forms/FormLibrary.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Analysis/SliceAnalysis.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/Pass/PassManager.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FormatVariadic.h"

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

// The type as a merge is compiled for: with all sizes dynamic unless they matter, of `element` where there is
// one.
static Type evaluatedType(Type type, bool sizesMatter, Type element) {
  if (auto update = dyn_cast<UpdateType>(type))
    return UpdateType::get(type.getContext(),
                           cast<RankedTensorType>(evaluatedType(update.getWeight(), sizesMatter, element)));
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return type;
  SmallVector<int64_t> sizes(tensor.getShape());
  if (!sizesMatter)
    sizes.assign(tensor.getRank(), ShapedType::kDynamic);
  return RankedTensorType::get(sizes, element ? element : tensor.getElementType());
}

// What a merge into a weight is computed in: f64 for a narrow weight, which is rounded when it is known what
// that costs; the weight's own type otherwise (null).
static Type evaluatedElement(MaterializeOp op) {
  Type element = cast<RankedTensorType>(op.getType()).getElementType();
  return element.isF16() || element.isBF16() ? Type(Float64Type::get(op.getContext())) : Type();
}

// The model that an op of its graph belongs to.
static Operation *modelOf(Operation *op) {
  while (op && !isa<onnxir::ModelOp>(op))
    op = op->getParentOp();
  return op;
}

namespace {
// A number, or the symbols of an adapter.apply, that comes in as a tensor, so that one function serves all values of it.
struct Number {
  Operation *op; // arith.constant or adapter.apply

  RankedTensorType type(MLIRContext *context) const {
    if (auto apply = dyn_cast<ApplyOp>(op))
      return RankedTensorType::get(apply.getSymbols().size(), IntegerType::get(context, 64));
    return RankedTensorType::get({}, Float64Type::get(context));
  }
  Tensor contents() const {
    auto apply = dyn_cast<ApplyOp>(op);
    int64_t count = apply ? apply.getSymbols().size() : 1;
    Tensor tensor = checkpoint::allocateTensor(apply ? checkpoint::DType::I64 : checkpoint::DType::F64,
                                               apply ? std::vector<int64_t>{count} : std::vector<int64_t>{});
    double value = apply ? 0 : cast<FloatAttr>(cast<arith::ConstantOp>(op).getValue()).getValueAsDouble();
    std::memcpy(checkpoint::mutableData(tensor),
                apply ? static_cast<const void *>(apply.getSymbols().data()) : &value, tensor.bytes);
    return tensor;
  }
};

// What one adapter.materialize is computed from.
struct Slice {
  SetVector<Operation *> ops; // in order, the parameters left out
  SetVector<Operation *> parameters;
  SmallVector<Number> numbers;
};

struct MergePass final : adapter::impl::MergePassBase<MergePass> {
  MergePass() = default;
  explicit MergePass(const adapter::MergePassOptions &options) : MergePassBase(options) {}
  MergePass(const MergePass &other) : MergePassBase(other) {} // compiled forms stay with their pass

  FailureOr<Slice> sliceOf(MaterializeOp op);
  OwningOpRef<ModuleOp> outline(const Slice &slice, MaterializeOp op);
  FailureOr<Evaluator *> compile(const Slice &slice, MaterializeOp op);
  LogicalResult merge(MaterializeOp op);
  LogicalResult roundResult(MaterializeOp op, const Tensor &base, Tensor &result);
  void runOnOperation() override;

  EvaluatorCache evaluators;
  // The merge that loses most of its update.
  double worst = 0;
  int64_t lossy = 0;
  std::string worstWeight;
  std::string worstType;
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
    auto constant = dyn_cast<arith::ConstantOp>(each);
    if (isa<ApplyOp>(each) || (constant && constant.getType().isF64()))
      slice.numbers.push_back({each});
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
  Type element = evaluatedElement(op);
  SmallVector<Type> types;
  for (Operation *parameter : slice.parameters) {
    Value value = parameter->getResult(0);
    types.push_back(evaluatedType(value.getType(), sizesMatter, value == op.getWeight() ? element : Type()));
  }
  Type result = evaluatedType(op.getType(), sizesMatter, element);
  for (const Number &number : slice.numbers)
    types.push_back(number.type(&getContext()));
  for (Operation *each : slice.ops)
    if (auto apply = dyn_cast<ApplyOp>(each); apply && !module->lookupSymbol(apply.getFormAttr()))
      builder.clone(*SymbolTable::lookupNearestSymbolFrom(apply, apply.getFormAttr()));
  auto function = func::FuncOp::create(builder, loc, functionName, builder.getFunctionType(types, result));
  SmallVector<StringRef> checked;
  bool areTrusted = true;
  for (auto form : module->getOps<FormOp>())
    if (form.getChecked()) {
      checked.push_back(form.getSymName());
      areTrusted &= form->hasAttr(trustedLoopsAttribute);
    }
  if (!checked.empty())
    function->setAttr(checkedAttribute, builder.getStringAttr(llvm::join(checked, "' or '")));
  if (!checked.empty() && areTrusted)
    function->setAttr(trustedLoopsAttribute, builder.getUnitAttr());
  // Parameters are mapped files, and the base is compared with what becomes of it.
  for (unsigned i = 0; i < types.size(); ++i)
    function.setArgAttr(i, "bufferization.writable", BoolAttr::get(&getContext(), false));
  builder.setInsertionPointToStart(function.addEntryBlock());
  IRMapping mapping;
  // Numbers come behind the parameters.
  llvm::DenseMap<Operation *, Value> symbolTensors;
  for (auto [i, number] : llvm::enumerate(slice.numbers)) {
    Value tensor = function.getArgument(slice.parameters.size() + i);
    if (isa<ApplyOp>(number.op)) {
      symbolTensors[number.op] = tensor;
      continue;
    }
    auto element = tensor::ExtractOp::create(builder, loc, tensor, ValueRange());
    mapping.map(number.op, element.getOperation());
    mapping.map(number.op->getResult(0), element.getResult());
  }
  for (auto [parameter, argument] : llvm::zip(slice.parameters, function.getArguments()))
    mapping.map(parameter->getResult(0), argument);
  for (Operation *each : slice.ops) {
    if (mapping.contains(each))
      continue; // a number
    Operation *copy = builder.clone(*each, mapping);
    copy->setLoc(loc);
    if (auto apply = dyn_cast<ApplyOp>(copy)) {
      // What they are stands in the tensor that comes in.
      apply.getSymbolValuesMutable().assign(symbolTensors.lookup(each));
      apply.setSymbols(SmallVector<int64_t>(apply.getSymbols().size(), 0));
    }
    for (Value result : copy->getResults())
      result.setType(evaluatedType(result.getType(), sizesMatter, element));
  }
  func::ReturnOp::create(builder, loc, mapping.lookup(op.getResult()));
  return module;
}

FailureOr<Evaluator *> MergePass::compile(const Slice &slice, MaterializeOp op) {
  OwningOpRef<ModuleOp> module = outline(slice, op);
  return evaluators.get(*module, op, [&](ModuleOp outlined) -> LogicalResult {
    PassManager lowering(&getContext(), ModuleOp::getOperationName());
    lowering.addPass(createLowerMaterializePass());
    // Bodies of forms compute on whole tensors.
    lowering.addNestedPass<func::FuncOp>(createConvertElementwiseToLinalgPass());
    lowering.addNestedPass<func::FuncOp>(createCheckBoundsPass());
    return failure(failed(lowering.run(outlined)) || checkpoint::isCancelled());
  });
}

// Rounds what was computed for a narrow weight, and notes where that loses too much of the update.
LogicalResult MergePass::roundResult(MaterializeOp op, const Tensor &base, Tensor &result) {
  auto weight = op.getWeight().getDefiningOp<ParameterOp>();
  Tensor rounded = roundTo(result, dtypeOf(cast<RankedTensorType>(op.getType()).getElementType()));
  Result<double> error = retainedUpdateError(base, result, rounded);
  if (!error)
    return op.emitError() << error.error().message;
  result = std::move(rounded);
  if (weight)
    getOperation()->walk([&](AttachedOp record) {
      if (record.getKey() == weight.getKey() && record->getParentOp()->getParentOp() == modelOf(op))
        record.setRetainedErrorAttr(Builder(&getContext()).getF64FloatAttr(*error));
    });
  if (*error <= retainedErrorLimit)
    return success();
  ++numLossy;
  ++lossy;
  if (*error > worst) {
    worst = *error;
    worstWeight = weight ? weight.getKey().str() : "a weight";
    worstType = checkpoint::dtypeName(result.dtype);
  }
  return success();
}

LogicalResult MergePass::merge(MaterializeOp op) {
  FailureOr<Slice> slice = sliceOf(op);
  if (failed(slice))
    return success(); // not known at build after all
  ParameterStore &store = ParameterStore::get(&getContext());
  SmallVector<Tensor> inputs;
  Tensor base; // of a narrow weight
  for (Operation *each : slice->parameters) {
    auto parameter = cast<ParameterOp>(each);
    const Tensor *tensor = store.lookup(parameter.getScope(), parameter.getKey());
    if (!tensor)
      return parameter.emitError() << "'" << parameter.getScope() << "'::'" << parameter.getKey()
                                   << "' has no contents to merge";
    inputs.push_back(*tensor);
    ArrayRef<int64_t> shape = cast<ShapedType>(parameter.getType()).getShape();
    inputs.back().shape.assign(shape.begin(), shape.end());
    if (parameter.getResult() != op.getWeight() || !evaluatedElement(op))
      continue;
    Result<Tensor> wide = widen(inputs.back());
    if (!wide)
      return parameter.emitError() << wide.error().message;
    base = inputs.back() = std::move(*wide);
  }
  for (const Number &number : slice->numbers)
    inputs.push_back(number.contents());
  FailureOr<Evaluator *> form = compile(*slice, op);
  if (failed(form))
    return failure();
  Result<std::vector<Tensor>> result = (*form)->run(functionName, inputs);
  if (!result)
    return op.emitError() << result.error().message;
  if (evaluatedElement(op))
    if (failed(roundResult(op, base, result->front())))
      return failure();
  auto weight = op.getWeight().getDefiningOp<ParameterOp>();
  std::string key = store.addNew("merged", weight ? weight.getKey() : "weight", std::move(result->front()));
  OpBuilder builder(op);
  auto merged = ParameterOp::create(builder, op.getLoc(), op.getType(), builder.getStringAttr("merged"),
                                    builder.getStringAttr(key), ElementsAttr(),
                                    weight ? weight.getExtraAttr() : StringAttr());
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
  numCompiled += evaluators.size();
  evaluators.clear();
  SmallVector<FormOp> definitions;
  getOperation()->walk([&](FormOp form) { definitions.push_back(form); });
  for (FormOp form : definitions)
    if (SymbolTable::symbolKnownUseEmpty(form, form->getParentOp()))
      form.erase();
  if (worst > 0 && !allowLossy) {
    getOperation()->emitError()
        << "merging into '" << worstWeight << "' (" << worstType << ") would lose "
        << llvm::formatv("{0:F0}", worst * 100) << " % of the update to rounding, " << lossy
        << " in all lose more than " << llvm::formatv("{0:F0}", retainedErrorLimit * 100)
        << " %; merge into a model of f32 weights, or insist with --allow-lossy-merge";
    signalPassFailure();
  }
}
