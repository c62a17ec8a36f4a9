// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-stage: splits a function by binding time. What depends on parameters alone is known at build time:
// it is cut out, compiled for this machine, run, and its result becomes a parameter of its own. Packing of
// weights is such a value, and so is what is left of merged adapters.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Compile/Evaluate.h"
#include "lib/Compile/Passes.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/Transforms/RegionUtils.h"

namespace adapter {
#define GEN_PASS_DEF_STAGEPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
// The build-time part of one function.
class BuildTimePart {
public:
  explicit BuildTimePart(func::FuncOp function) {
    auto table = function->getAttrOfType<ArrayAttr>(parametersAttribute);
    for (Operation &op : function.getBody().front()) {
      // What a switch may change is laid out now, but nothing is computed from it.
      auto parameter = dyn_cast<kernel::ParameterOp>(op);
      if (parameter && cast<ParameterRowAttr>(table[parameter.getIndex()]).getSite())
        changing.insert(&op);
      if (llvm::any_of(inputsOf(&op), [&](Value v) { return changing.contains(v.getDefiningOp()); })) {
        if (!isLayout(&op))
          continue;
        changing.insert(&op);
      }
      if (!isEvaluable(&op) ||
          !llvm::all_of(inputsOf(&op), [&](Value v) { return ops.contains(v.getDefiningOp()); }))
        continue;
      ops.insert(&op);
      bool fromParameter = isa<kernel::ParameterOp>(op);
      for (Value input : inputsOf(&op))
        fromParameter |= withParameter.contains(input.getDefiningOp());
      if (fromParameter)
        withParameter.insert(&op);
    }
  }

  // Values that the rest of the function reads, worth a parameter of their own.
  SmallVector<Value> frontier() {
    SmallVector<Value> values;
    for (Operation *op : withParameter) {
      // A parameter is one already, and a view of one costs nothing.
      if (isa<kernel::ParameterOp>(op) ||
          (isa<kernel::ReshapeOp>(op) && op->getOperand(0).getDefiningOp<kernel::ParameterOp>()))
        continue;
      for (Value result : op->getResults()) {
        auto type = dyn_cast<RankedTensorType>(result.getType());
        bool leaves = llvm::any_of(result.getUsers(), [&](Operation *user) {
          return !ops.contains(op->getBlock()->findAncestorOpInBlock(*user));
        });
        if (type && type.hasStaticShape() && leaves && !growsMuch(op, type))
          values.push_back(result);
      }
    }
    return values;
  }

  // The operations that compute `value`, in order.
  SetVector<Operation *> slice(Value value) {
    SetVector<Operation *> reversed;
    SmallVector<Operation *> work{value.getDefiningOp()};
    while (!work.empty()) {
      Operation *op = work.pop_back_val();
      if (reversed.insert(op))
        for (Value input : inputsOf(op))
          work.push_back(input.getDefiningOp());
    }
    // Parameters that took the place of values computed before are among them.
    SmallVector<Operation *> ordered(reversed.takeVector());
    llvm::sort(ordered, [](Operation *x, Operation *y) { return x->isBeforeInBlock(y); });
    return SetVector<Operation *>(ordered.begin(), ordered.end());
  }

private:
  static bool isEvaluable(Operation *op) {
    return isa<kernel::ParameterOp, kernel::ReshapeOp, kernel::PackOp, kernel::EncodeOp, kernel::RepackOp,
               kernel::DequantizeOp, linalg::LinalgOp>(op) ||
           isa_and_nonnull<arith::ArithDialect, tensor::TensorDialect, math::MathDialect>(op->getDialect());
  }

  // Moves elements without looking at them.
  static bool isLayout(Operation *op) {
    if (auto generic = dyn_cast<linalg::GenericOp>(op))
      return generic.getNumDpsInputs() == 1 && generic.getBody()->getOperations().size() == 1 &&
             generic.getBody()->getTerminator()->getOperand(0) == generic.getBody()->getArgument(0);
    return isa<kernel::ReshapeOp, kernel::PackOp, kernel::EncodeOp, kernel::RepackOp, kernel::DequantizeOp>(
        op);
  }

  static SmallVector<Value> inputsOf(Operation *op) {
    SmallVector<Value> inputs(op->getOperands());
    llvm::SetVector<Value> captured;
    getUsedValuesDefinedAbove(op->getRegions(), captured);
    llvm::append_range(inputs, captured);
    return inputs;
  }

  // A broadcast written out costs more memory than it saves time.
  bool growsMuch(Operation *op, RankedTensorType type) {
    int64_t read = 0;
    for (Operation *part : slice(op->getResult(0)))
      if (auto parameter = dyn_cast<kernel::ParameterOp>(part))
        read += cast<ShapedType>(parameter.getType()).getNumElements();
    return type.getNumElements() > 64 * read;
  }

  SetVector<Operation *> ops, withParameter, changing;
};

struct StagePass final : adapter::impl::StagePassBase<StagePass> {
  StagePass() = default;
  StagePass(const StagePass &) : StagePassBase() {} // compiled slices stay with their pass

  // A module with the slice as a function of its parameters.
  OwningOpRef<ModuleOp> outline(const SetVector<Operation *> &slice, Value value,
                                SmallVectorImpl<kernel::ParameterOp> &parameters) {
    OwningOpRef<ModuleOp> module = ModuleOp::create(UnknownLoc::get(&getContext()));
    SmallVector<Type> types;
    for (Operation *op : slice)
      if (auto parameter = dyn_cast<kernel::ParameterOp>(op)) {
        parameters.push_back(parameter);
        types.push_back(parameter.getType());
      }
    OpBuilder builder(module->getBodyRegion());
    auto function = func::FuncOp::create(builder, module->getLoc(), "evaluate",
                                         builder.getFunctionType(types, value.getType()));
    Block *entry = function.addEntryBlock();
    builder.setInsertionPointToStart(entry);
    IRMapping mapping;
    for (auto [parameter, argument] : llvm::zip(parameters, entry->getArguments()))
      mapping.map(parameter.getResult(), argument);
    for (Operation *op : slice)
      if (!isa<kernel::ParameterOp>(op))
        builder.clone(*op, mapping);
    func::ReturnOp::create(builder, module->getLoc(), mapping.lookup(value));
    return module;
  }

  LogicalResult evaluateValue(func::FuncOp function, BuildTimePart &part, Value value) {
    auto table = function->getAttrOfType<ArrayAttr>(parametersAttribute);
    ParameterStore &store = ParameterStore::get(&getContext());
    SmallVector<kernel::ParameterOp> parameters;
    OwningOpRef<ModuleOp> module = outline(part.slice(value), value, parameters);
    FailureOr<Evaluator *> evaluator = evaluators.get(*module, value.getDefiningOp());
    if (failed(evaluator))
      return failure();
    SmallVector<checkpoint::Tensor> inputs;
    std::string key;
    FlatSymbolRefAttr site;
    for (kernel::ParameterOp parameter : parameters) {
      auto row = cast<ParameterRowAttr>(table[parameter.getIndex()]);
      StringRef scope = row.getScope(), name = row.getKey();
      const checkpoint::Tensor *tensor = store.lookup(scope, name);
      if (!tensor)
        return parameter.emitError() << "parameter '" << scope << "'::'" << name << "' has no contents";
      inputs.push_back(*tensor);
      inputs.back().shape.assign(cast<ShapedType>(parameter.getType()).getShape().begin(),
                                 cast<ShapedType>(parameter.getType()).getShape().end());
      if (row.getSite())
        site = row.getSite();
      if (key.empty())
        key = name.str();
    }
    checkpoint::Result<std::vector<checkpoint::Tensor>> result = (*evaluator)->run("evaluate", inputs);
    if (!result)
      return value.getDefiningOp()->emitError() << result.error().message;
    key += isa<kernel::PackOp, kernel::RepackOp>(value.getDefiningOp()) ? ".packed" : ".staged";
    std::string unique = store.addNew("staged", key, std::move(result->front()));

    OpBuilder builder(value.getDefiningOp());
    SmallVector<Attribute> rows(table.begin(), table.end());
    auto parameter = kernel::ParameterOp::create(builder, value.getLoc(), value.getType(), rows.size());
    rows.push_back(ParameterRowAttr::get(&getContext(), builder.getStringAttr("staged"),
                                         builder.getStringAttr(unique), site));
    function->setAttr(parametersAttribute, builder.getArrayAttr(rows));
    value.replaceAllUsesWith(parameter);
    return success();
  }

  // Drops rows of the parameter table that nothing reads.
  void compact(func::FuncOp function) {
    auto table = function->getAttrOfType<ArrayAttr>(parametersAttribute);
    SmallVector<Attribute> rows;
    llvm::DenseMap<int64_t, int64_t> moved;
    function.walk([&](kernel::ParameterOp parameter) {
      auto [place, isNew] = moved.try_emplace(parameter.getIndex(), rows.size());
      if (isNew)
        rows.push_back(table[parameter.getIndex()]);
      parameter.setIndex(place->second);
    });
    function->setAttr(parametersAttribute, ArrayAttr::get(&getContext(), rows));
  }

  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (!function->hasAttr(parametersAttribute))
        continue;
      BuildTimePart part(function);
      for (Value value : part.frontier())
        if (failed(evaluateValue(function, part, value)))
          return signalPassFailure();
      // What was evaluated has no use any more.
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(function.getBody().front())))
        if (isOpTriviallyDead(&op))
          op.erase();
      compact(function);
    }
    evaluators.clear();
  }

  EvaluatorCache evaluators;
};
} // namespace
