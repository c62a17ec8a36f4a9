// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-lower-calls: parameters, views and asserts in terms of the call's frame, a pointer that is every
// function's first argument: { const adapter_call_v1 *call; int32_t status }.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Frame.h"
#include "lib/Codegen/LowerCollectives.h"
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

// A view of memory of no known size that is then given its shape.
static Value viewOf(ImplicitLocOpBuilder &b, Value data, MemRefType type, ValueRange sizes) {
  auto flat = MemRefType::get({1}, type.getElementType());
  LLVMTypeConverter converter(b.getContext());
  Value descriptor = MemRefDescriptor::fromStaticShape(b, b.getLoc(), converter, flat, data);
  Value source = UnrealizedConversionCastOp::create(b, flat, descriptor).getResult(0);
  return kernel::ReshapeOp::create(b, type, source, sizes);
}

// A host without memory for a result fails the call like any check does.
static void lowerOutput(kernel::OutputOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  auto type = cast<MemRefType>(op.getType());
  SmallVector<Value> sizes;
  auto dynamic = op.getSizes().begin();
  for (int64_t size : type.getShape())
    sizes.push_back(ShapedType::isDynamic(size)
                        ? arith::IndexCastOp::create(b, b.getI64Type(), *dynamic++).getResult()
                        : constantI64(b, size));
  Value frame = op->getParentOfType<func::FuncOp>().getArgument(0);
  Value data = askForOutput(b, frame, op.getIndex(), sizes);
  Value null = LLVM::ZeroOp::create(b, data.getType());
  Value has = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, data, null);
  cf::AssertOp::create(b, has, "out of memory");
  op.getResult().replaceAllUsesWith(viewOf(b, data, type, op.getSizes()));
  op.erase();
}

//===----------------------------------------------------------------------===//
// Rows and banks
//===----------------------------------------------------------------------===//

static Value callOf(ImplicitLocOpBuilder &b, Operation *op) {
  return loadPointer(b, op->getParentOfType<func::FuncOp>().getArgument(0), FrameOffsets::kCall);
}

static Value toIndex(ImplicitLocOpBuilder &b, Value i64) {
  return arith::IndexCastOp::create(b, b.getIndexType(), i64);
}

// The address of element `number` of an array of structures of `size` bytes.
static Value elementAt(ImplicitLocOpBuilder &b, Value array, Value number, int64_t size) {
  Value offset =
      arith::MulIOp::create(b, arith::IndexCastOp::create(b, b.getI64Type(), number), constantI64(b, size));
  return LLVM::GEPOp::create(b, LLVM::LLVMPointerType::get(b.getContext()), b.getI8Type(), array,
                             ArrayRef<LLVM::GEPArg>{offset});
}

// The adapter_entry_v1 of a number in a bank.
static Value entryOf(ImplicitLocOpBuilder &b, Operation *op, Value entry, Value number) {
  Value banks = loadPointer(b, callOf(b, op), CallOffsets::kBanks);
  Value bank = elementAt(b, banks, number, sizeof(adapter_bank_v1));
  Value entries = loadPointer(b, bank, offsetof(adapter_bank_v1, entries));
  return elementAt(b, entries, entry, sizeof(adapter_entry_v1));
}

static void replace(Operation *op, Value value) {
  op->getResult(0).replaceAllUsesWith(value);
  op->erase();
}

static void lowerRowCount(kernel::RowCountOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  replace(op, toIndex(b, loadI64(b, callOf(b, op), CallOffsets::kRows)));
}

static void lowerSegmentCount(kernel::SegmentCountOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  replace(op, toIndex(b, loadI64(b, callOf(b, op), CallOffsets::kSegmentCount)));
}

static void lowerSegment(kernel::SegmentOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value segment = elementAt(b, loadPointer(b, callOf(b, op), CallOffsets::kSegments), op.getNumber(),
                            sizeof(adapter_segment_v1));
  const int64_t offsets[] = {offsetof(adapter_segment_v1, begin), offsetof(adapter_segment_v1, end),
                             offsetof(adapter_segment_v1, first), offsetof(adapter_segment_v1, count)};
  for (auto [result, offset] : llvm::zip(op.getResults(), offsets))
    result.replaceAllUsesWith(toIndex(b, loadI64(b, segment, offset)));
  op.erase();
}

static void lowerAssignment(kernel::AssignmentOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value assignment = elementAt(b, loadPointer(b, callOf(b, op), CallOffsets::kAssignments), op.getNumber(),
                               sizeof(adapter_assignment_v1));
  auto load = [&](Type type, int64_t offset) -> Value {
    return LLVM::LoadOp::create(b, type, pointerAt(b, assignment, offset), /*alignment=*/4);
  };
  op.getEntry().replaceAllUsesWith(toIndex(b, load(b.getI32Type(), offsetof(adapter_assignment_v1, entry))));
  op.getWeight().replaceAllUsesWith(load(b.getF32Type(), offsetof(adapter_assignment_v1, weight)));
  op.erase();
}

static void lowerRowEntry(kernel::RowEntryOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value entries = loadPointer(b, callOf(b, op), CallOffsets::kRowEntries);
  Value address = elementAt(b, entries, op.getRow(), sizeof(int32_t));
  replace(op, toIndex(b, LLVM::LoadOp::create(b, b.getI32Type(), address, /*alignment=*/4)));
}

static void lowerBank(kernel::BankOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  replace(op, arith::ConstantIndexOp::create(b, op.getNumber()));
}

static void lowerEntryExtent(kernel::EntryExtentOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value entry = entryOf(b, op, op.getEntry(), op.getBank());
  replace(op, toIndex(b, loadI64(b, entry, offsetof(adapter_entry_v1, extent) + 8 * op.getPosition())));
}

static void lowerEntryHas(kernel::EntryHasOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value entry = entryOf(b, op, op.getEntry(), op.getBank());
  Value data = loadPointer(b, entry, offsetof(adapter_entry_v1, tensor) + 8 * op.getPosition());
  Value null = LLVM::ZeroOp::create(b, data.getType());
  replace(op, LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, data, null));
}

static void lowerEntryTensor(kernel::EntryTensorOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value entry = entryOf(b, op, op.getEntry(), op.getBank());
  Value data = loadPointer(b, entry, offsetof(adapter_entry_v1, tensor) + 8 * op.getPosition());
  replace(op, viewOf(b, data, cast<MemRefType>(op.getType()), op.getSizes()));
}

//===----------------------------------------------------------------------===//
// Sessions
//===----------------------------------------------------------------------===//

static Value sessionOf(ImplicitLocOpBuilder &b, Operation *op) {
  return loadPointer(b, callOf(b, op), CallOffsets::kSession);
}

// An i64 of a row, out of an array that the session points to at `offset`.
static void lowerRowNumber(Operation *op, Value row, int64_t offset) {
  ImplicitLocOpBuilder b(op->getLoc(), op);
  Value array = loadPointer(b, sessionOf(b, op), offset);
  replace(op, toIndex(b, loadI64(b, elementAt(b, array, row, sizeof(int64_t)), 0)));
}

static void lowerRowMemory(kernel::RowMemoryOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value session = sessionOf(b, op),
        rows = toIndex(b, loadI64(b, session, offsetof(adapter_session_v1, rows)));
  Value number = arith::AddIOp::create(b, arith::MulIOp::create(b, op.getState(), rows), op.getRow());
  Value memory = loadPointer(b, session, offsetof(adapter_session_v1, memory));
  Value data = loadPointer(b, elementAt(b, memory, number, sizeof(void *)), 0);
  replace(op, viewOf(b, data, cast<MemRefType>(op.getType()), op.getSize()));
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

static void lowerRequire(kernel::RequireOp op, LLVM::LLVMFuncOp fail, int64_t number) {
  auto function = op->getParentOfType<func::FuncOp>();
  auto module = function->getParentOfType<ModuleOp>();
  ImplicitLocOpBuilder b(op.getLoc(), op);
  std::string name = ("kernel.message" + Twine(number)).str();
  std::string text = op.getMessage().str() + '\0';
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
  // Made in the failing block: who does not fail computes nothing for it.
  SmallVector<Value> values;
  for (Value value : op.getValues())
    values.push_back(arith::IndexCastOp::create(b, b.getI64Type(), value));
  callFail(b, fail, function.getArgument(0), message, values);
  SmallVector<Value> results;
  for (Type result : function.getResultTypes())
    results.push_back(ub::PoisonOp::create(b, result));
  func::ReturnOp::create(b, results);
  b.setInsertionPoint(op);
  cf::CondBranchOp::create(b, op.getCondition(), rest, failing);
  op.erase();
}

namespace {
struct LowerCallsPass final : adapter::impl::LowerCallsPassBase<LowerCallsPass> {
  using Base::Base;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    LLVMTypeConverter converter(&getContext());
    module.walk([&](kernel::ParameterOp op) { lowerParameter(op, converter); });
    module.walk([&](kernel::OutputOp op) { lowerOutput(op); });
    module.walk([&](kernel::RowCountOp op) { lowerRowCount(op); });
    module.walk([&](kernel::SegmentCountOp op) { lowerSegmentCount(op); });
    module.walk([&](kernel::SegmentOp op) { lowerSegment(op); });
    module.walk([&](kernel::AssignmentOp op) { lowerAssignment(op); });
    module.walk([&](kernel::RowEntryOp op) { lowerRowEntry(op); });
    module.walk([&](kernel::BankOp op) { lowerBank(op); });
    module.walk([&](kernel::EntryExtentOp op) { lowerEntryExtent(op); });
    module.walk([&](kernel::EntryHasOp op) { lowerEntryHas(op); });
    module.walk([&](kernel::EntryTensorOp op) { lowerEntryTensor(op); });
    module.walk([&](kernel::RowLengthOp op) {
      lowerRowNumber(op, op.getRow(), offsetof(adapter_session_v1, lengths));
    });
    module.walk([&](kernel::RowCapacityOp op) {
      lowerRowNumber(op, op.getRow(), offsetof(adapter_session_v1, capacities));
    });
    module.walk([&](kernel::RowMemoryOp op) { lowerRowMemory(op); });
    module.walk([&](kernel::ReshapeOp op) { lowerReshape(op); });
    lowerCollectives(module);
    module.walk([](cf::AssertOp op) {
      OpBuilder b(op);
      kernel::RequireOp::create(b, op.getLoc(), op.getArg(), op.getMsg(), ValueRange());
      op.erase();
    });
    SmallVector<kernel::RequireOp> checks;
    module.walk([&](kernel::RequireOp op) { checks.push_back(op); });
    if (checks.empty())
      return;
    LLVM::LLVMFuncOp fail = getOrMakeFail(module);
    for (auto [number, op] : llvm::enumerate(checks))
      lowerRequire(op, fail, number);
  }
};
} // namespace
