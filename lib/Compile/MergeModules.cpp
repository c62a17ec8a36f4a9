// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-merge-modules: like merging, partial evaluation. A mixture becomes a function of its factors and masks,
// compiled once for each mode, count and element type, for tensors of any size. Whether masks overlap is read off
// their bytes before.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Compile/Evaluate.h"
#include "lib/Compile/Passes.h"
#include "lib/Support/ParameterStore.h"
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
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_MERGEMODULESPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using checkpoint::Result;
using checkpoint::Tensor;

static constexpr const char *functionName = "evaluate";

namespace {
struct MergeModulesPass final : adapter::impl::MergeModulesPassBase<MergeModulesPass> {
  MergeModulesPass() = default;
  MergeModulesPass(const MergeModulesPass &other) : MergeModulesPassBase(other) {}

  OwningOpRef<ModuleOp> write(MaskMixOp op);
  LogicalResult checkMasks(MaskMixOp op, ArrayRef<Tensor> masks);
  LogicalResult merge(MaskMixOp op);
  void runOnOperation() override;

  EvaluatorCache evaluators;
};
} // namespace

// The contents of parameters; nothing where one is none, an error where one has none.
static FailureOr<std::optional<SmallVector<Tensor>>> contentsOf(ValueRange values) {
  SmallVector<Tensor> tensors;
  for (Value value : values) {
    auto parameter = value.getDefiningOp<ParameterOp>();
    if (!parameter)
      return std::optional<SmallVector<Tensor>>();
    const Tensor *tensor =
        ParameterStore::get(parameter.getContext()).lookup(parameter.getScope(), parameter.getKey());
    if (!tensor)
      return parameter.emitError() << "'" << parameter.getScope() << "'::'" << parameter.getKey()
                                   << "' has no contents to merge";
    tensors.push_back(*tensor);
  }
  return std::optional(std::move(tensors));
}

LogicalResult MergeModulesPass::checkMasks(MaskMixOp op, ArrayRef<Tensor> masks) {
  for (const Tensor &mask : masks)
    if (checkpoint::dtypeSize(mask.dtype) != 1)
      return op.emitError() << "has masks of " << checkpoint::dtypeName(mask.dtype)
                            << "; only those of one byte an "
                            << "element can be merged";
  if (!op.getDisjoint() && op.getMode() != MaskMixMode::Select)
    return success();
  for (auto [i, mask] : llvm::enumerate(masks))
    for (auto [j, other] : llvm::enumerate(masks.take_front(i)))
      for (int64_t at = 0; at < mask.elements(); ++at)
        if (mask.data[at] != std::byte{0} && other.data[at] != std::byte{0})
          return op.emitError() << "mixes disjoint modules, but the masks '" << other.key << "' and '"
                                << mask.key << "' overlap in element " << at;
  return success();
}

// evaluate(factors..., masks...), the masks as i8.
OwningOpRef<ModuleOp> MergeModulesPass::write(MaskMixOp op) {
  Location loc = UnknownLoc::get(&getContext());
  OwningOpRef<ModuleOp> module = ModuleOp::create(loc);
  ImplicitLocOpBuilder b(loc, &getContext());
  b.setInsertionPointToEnd(module->getBody());
  SmallVector<int64_t> sizes(op.getType().getRank(), ShapedType::kDynamic);
  Type element = op.getType().getElementType();
  Type factor = RankedTensorType::get(sizes, element), mask = RankedTensorType::get(sizes, b.getI8Type());
  unsigned count = op.getFactors().size();
  SmallVector<Type> types(count, factor);
  types.append(count, mask);
  auto function = func::FuncOp::create(b, functionName, b.getFunctionType(types, factor));
  b.setInsertionPointToStart(function.addEntryBlock());
  SmallVector<Value> dims;
  for (size_t dim = 0; dim < sizes.size(); ++dim)
    dims.push_back(tensor::DimOp::create(b, function.getArgument(0), dim));
  Value init = tensor::EmptyOp::create(b, factor, dims);
  SmallVector<AffineMap> maps(2 * count + 1, b.getMultiDimIdentityMap(sizes.size()));
  SmallVector<utils::IteratorType> iterators(sizes.size(), utils::IteratorType::parallel);
  auto body = [&](OpBuilder &nested, Location at, ValueRange elements) {
    ImplicitLocOpBuilder inner(at, nested);
    Type wide = inner.getF64Type();
    Value zero = arith::ConstantOp::create(inner, inner.getF64FloatAttr(0)), sum = zero;
    Value off = arith::ConstantOp::create(inner, inner.getI8IntegerAttr(0));
    for (unsigned i = 0; i < count; ++i) {
      Value value = element == wide ? elements[i] : Value(arith::ExtFOp::create(inner, wide, elements[i]));
      Value set = arith::CmpIOp::create(inner, arith::CmpIPredicate::ne, elements[count + i], off);
      sum = arith::AddFOp::create(inner, sum, arith::SelectOp::create(inner, set, value, zero));
    }
    if (op.getMode() == MaskMixMode::Mean)
      sum = arith::DivFOp::create(inner, sum, arith::ConstantOp::create(inner, inner.getF64FloatAttr(count)));
    linalg::YieldOp::create(inner,
                            element == wide ? sum : Value(arith::TruncFOp::create(inner, element, sum)));
  };
  auto generic = linalg::GenericOp::create(b, factor, function.getArguments(), init, maps, iterators, body);
  func::ReturnOp::create(b, generic.getResults());
  return module;
}

LogicalResult MergeModulesPass::merge(MaskMixOp op) {
  FailureOr<std::optional<SmallVector<Tensor>>> factors = contentsOf(op.getFactors());
  if (failed(factors))
    return failure();
  FailureOr<std::optional<SmallVector<Tensor>>> masks = contentsOf(op.getMasks());
  if (failed(masks))
    return failure();
  if (!*factors || !*masks)
    return success(); // not known at build
  if (failed(checkMasks(op, **masks)))
    return failure();
  OwningOpRef<ModuleOp> module = write(op);
  FailureOr<Evaluator *> evaluator = evaluators.get(*module, op);
  if (failed(evaluator))
    return failure();
  SmallVector<Tensor> inputs(**factors);
  for (Tensor mask : **masks) {
    mask.dtype = checkpoint::DType::I8;
    inputs.push_back(std::move(mask));
  }
  Result<std::vector<Tensor>> result = (*evaluator)->run(functionName, inputs);
  if (!result)
    return op.emitError() << result.error().message;
  ParameterStore &store = ParameterStore::get(&getContext());
  std::string key = store.addNew("merged", op.getFactors().front().getDefiningOp<ParameterOp>().getKey(),
                                 std::move(result->front()));
  OpBuilder builder(op);
  SmallVector<Operation *> sources;
  for (Value operand : op->getOperands())
    sources.push_back(operand.getDefiningOp());
  auto merged = ParameterOp::create(builder, op.getLoc(), op.getType(), builder.getStringAttr("merged"),
                                    builder.getStringAttr(key), ElementsAttr(), StringAttr());
  op.replaceAllUsesWith(merged.getResult());
  op.erase();
  ++numMerged;
  llvm::SetVector<Operation *> unread(sources.begin(), sources.end());
  for (Operation *source : unread)
    if (source->use_empty())
      source->erase();
  return success();
}

void MergeModulesPass::runOnOperation() {
  SmallVector<MaskMixOp> ops;
  getOperation()->walk([&](MaskMixOp op) { ops.push_back(op); });
  for (MaskMixOp op : ops)
    if (failed(merge(op)))
      return signalPassFailure();
  evaluators.clear();
}
