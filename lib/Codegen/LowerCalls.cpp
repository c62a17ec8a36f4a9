// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-lower-calls: parameters, views and asserts in terms of the call's frame, a pointer that is every
// function's first argument: { const adapter_call_v1 *call; int32_t status }.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Frame.h"
#include "lib/Codegen/Passes.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/UB/IR/UBOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERCALLSPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static void lowerParameter(kernel::ParameterOp op, const LLVMTypeConverter &converter) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value frame = op->getParentOfType<func::FuncOp>().getArgument(0);
  Value parameters = loadPointer(b, loadPointer(b, frame, FrameOffsets::kCall), CallOffsets::kParameters);
  Value data = loadPointer(b, parameters, op.getIndex() * 8);
  auto type = cast<MemRefType>(op.getType());
  Value descriptor = MemRefDescriptor::fromStaticShape(b, op.getLoc(), converter, type, data);
  auto cast = UnrealizedConversionCastOp::create(b, type, descriptor);
  op.getResult().replaceAllUsesWith(cast.getResult(0));
  op.erase();
}

static void lowerReshape(kernel::ReshapeOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  auto type = cast<MemRefType>(op.getType());
  SmallVector<OpFoldResult> sizes, strides(type.getRank());
  auto dynamic = op.getSizes().begin();
  for (int64_t size : type.getShape())
    sizes.push_back(ShapedType::isDynamic(size) ? OpFoldResult(*dynamic++) : b.getIndexAttr(size));
  OpFoldResult stride = b.getIndexAttr(1);
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    std::optional<int64_t> size = getConstantIntValue(sizes[dim]), known = getConstantIntValue(stride);
    if (size && known)
      stride = b.getIndexAttr(*size * *known);
    else
      stride = Value(arith::MulIOp::create(b, getValueOrCreateConstantIndexOp(b, b.getLoc(), stride),
                                           getValueOrCreateConstantIndexOp(b, b.getLoc(), sizes[dim])));
  }
  Value view = memref::ReinterpretCastOp::create(b, type, op.getSource(), OpFoldResult(b.getIndexAttr(0)),
                                                 sizes, strides);
  op.getResult().replaceAllUsesWith(view);
  op.erase();
}

static void lowerAssert(cf::AssertOp op, LLVM::LLVMFuncOp fail, int64_t number) {
  auto function = op->getParentOfType<func::FuncOp>();
  auto module = function->getParentOfType<ModuleOp>();
  ImplicitLocOpBuilder b(op.getLoc(), op);
  std::string name = ("kernel.message" + Twine(number)).str();
  std::string text = op.getMsg().str() + '\0';
  auto type = LLVM::LLVMArrayType::get(b.getI8Type(), text.size());
  {
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(module.getBody());
    LLVM::GlobalOp::create(b, type, /*isConstant=*/true, LLVM::Linkage::Internal, name,
                           b.getStringAttr(text));
  }
  Block *block = op->getBlock();
  Block *rest = block->splitBlock(op->getNextNode());
  Block *failing = b.createBlock(&function.getBody(), function.getBody().end());
  Value message = LLVM::AddressOfOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), name);
  LLVM::CallOp::create(b, fail, ValueRange{function.getArgument(0), message});
  SmallVector<Value> results;
  for (Type result : function.getResultTypes())
    results.push_back(ub::PoisonOp::create(b, result));
  func::ReturnOp::create(b, results);
  b.setInsertionPoint(op);
  cf::CondBranchOp::create(b, op.getArg(), rest, failing);
  op.erase();
}

namespace {
struct LowerCallsPass final : adapter::impl::LowerCallsPassBase<LowerCallsPass> {
  using Base::Base;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    LLVMTypeConverter converter(&getContext());
    module.walk([&](kernel::ParameterOp op) { lowerParameter(op, converter); });
    module.walk([&](kernel::ReshapeOp op) { lowerReshape(op); });
    SmallVector<cf::AssertOp> asserts;
    module.walk([&](cf::AssertOp op) { asserts.push_back(op); });
    if (asserts.empty())
      return;
    LLVM::LLVMFuncOp fail = getOrMakeFail(module);
    for (auto [number, op] : llvm::enumerate(asserts))
      lowerAssert(op, fail, number);
  }
};
} // namespace
