// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Access to the call's frame and the host table.
#include "lib/Codegen/Frame.h"

using namespace mlir;
using namespace adapter;

static Type pointerType(ImplicitLocOpBuilder &b) { return LLVM::LLVMPointerType::get(b.getContext()); }

Value adapter::pointerAt(ImplicitLocOpBuilder &b, Value base, int64_t offset) {
  if (offset == 0)
    return base;
  return LLVM::GEPOp::create(b, pointerType(b), b.getI8Type(), base,
                             ArrayRef<LLVM::GEPArg>{static_cast<int32_t>(offset)});
}

Value adapter::loadPointer(ImplicitLocOpBuilder &b, Value base, int64_t offset) {
  return LLVM::LoadOp::create(b, pointerType(b), pointerAt(b, base, offset), /*alignment=*/8);
}

Value adapter::loadI64(ImplicitLocOpBuilder &b, Value base, int64_t offset) {
  return LLVM::LoadOp::create(b, b.getI64Type(), pointerAt(b, base, offset), /*alignment=*/8);
}

Value adapter::constantI64(ImplicitLocOpBuilder &b, int64_t value) {
  return LLVM::ConstantOp::create(b, b.getI64Type(), b.getI64IntegerAttr(value));
}

LLVM::CallOp adapter::callHost(ImplicitLocOpBuilder &b, Value frame, int64_t offset, Type result,
                               ValueRange arguments) {
  Value host = loadPointer(b, loadPointer(b, frame, FrameOffsets::kCall), CallOffsets::kHost);
  SmallVector<Value> operands{loadPointer(b, host, offset),
                              loadPointer(b, host, offsetof(adapter_host_v1, state))};
  llvm::append_range(operands, arguments);
  SmallVector<Type> types{pointerType(b)};
  llvm::append_range(types, arguments.getTypes());
  auto type = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(b.getContext()), types);
  return LLVM::CallOp::create(b, type, operands);
}

Value adapter::askForOutput(ImplicitLocOpBuilder &b, Value frame, int64_t index, ValueRange sizes) {
  auto i32 = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, b.getI32Type(), b.getI32IntegerAttr(value));
  };
  Value count = constantI64(b, std::max<int64_t>(sizes.size(), 1));
  Value dims = LLVM::AllocaOp::create(b, pointerType(b), b.getI64Type(), count);
  for (auto [dim, size] : llvm::enumerate(sizes))
    LLVM::StoreOp::create(b, size, pointerAt(b, dims, 8 * dim));
  return callHost(b, frame, offsetof(adapter_host_v1, output), pointerType(b),
                  ValueRange{i32(index), i32(sizes.size()), dims})
      .getResult();
}

static constexpr int64_t mostFailValues = 3;

LLVM::LLVMFuncOp adapter::getOrMakeFail(ModuleOp module) {
  if (auto existing = module.lookupSymbol<LLVM::LLVMFuncOp>("kernel.fail"))
    return existing;
  ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
  b.setInsertionPointToEnd(module.getBody());
  SmallVector<Type> types{pointerType(b), pointerType(b), b.getI32Type()};
  types.append(mostFailValues, b.getI64Type());
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()), types);
  auto function = LLVM::LLVMFuncOp::create(b, "kernel.fail", type, LLVM::Linkage::Internal);
  Block *entry = function.addEntryBlock(b);
  b.setInsertionPointToStart(entry);
  Value one = LLVM::ConstantOp::create(b, b.getI32Type(), b.getI32IntegerAttr(1));
  // Several threads may fail at once; all store the same value.
  LLVM::StoreOp::create(b, one, pointerAt(b, entry->getArgument(0), FrameOffsets::kStatus), /*alignment=*/4,
                        /*isVolatile=*/false, /*isNonTemporal=*/false, /*isInvariantGroup=*/false,
                        LLVM::AtomicOrdering::monotonic);
  Value values = LLVM::AllocaOp::create(b, pointerType(b), b.getI64Type(), constantI64(b, mostFailValues));
  for (int64_t i = 0; i < mostFailValues; ++i)
    LLVM::StoreOp::create(b, entry->getArgument(3 + i), pointerAt(b, values, 8 * i));
  callHost(b, entry->getArgument(0), offsetof(adapter_host_v1, fail), Type(),
           ValueRange{entry->getArgument(1), values, entry->getArgument(2)});
  LLVM::ReturnOp::create(b, ValueRange());
  return function;
}

void adapter::callFail(ImplicitLocOpBuilder &b, LLVM::LLVMFuncOp fail, Value frame, Value message,
                       ValueRange values) {
  auto count = b.getI32IntegerAttr(static_cast<int32_t>(values.size()));
  SmallVector<Value> operands{frame, message, LLVM::ConstantOp::create(b, b.getI32Type(), count)};
  llvm::append_range(operands, values);
  while (operands.size() < 3 + mostFailValues)
    operands.push_back(constantI64(b, 0));
  LLVM::CallOp::create(b, fail, operands);
}
