// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-lower-device-calls: on the host, a device buffer is a memref whose pointer is the device's handle. So
// views and sizes stay what they are for the conversion to LLVM, and only what touches the device is a call.
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Frame.h"
#include "lib/Codegen/GPU/KernelBuilder.h"
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/Conversion/LLVMCommon/MemRefBuilder.h"
#include "mlir/Conversion/LLVMCommon/TypeConverter.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERDEVICECALLSPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static int64_t elementBytes(Type type) { return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8); }

namespace {
// Emits the calls of one graph.
class DeviceCalls {
public:
  DeviceCalls(func::FuncOp function, ArrayAttr table)
      : frame(function.getArgument(0)), b(function.getLoc(), function.getContext()), table(table),
        pointer(LLVM::LLVMPointerType::get(b.getContext())), converter(b.getContext()) {}

  LogicalResult lower(Operation *op) {
    b.setLoc(op->getLoc());
    b.setInsertionPoint(op);
    if (auto alloc = dyn_cast<memref::AllocOp>(op)) {
      Value elements = i64(count(alloc.getType(), alloc.getDynamicSizes()));
      Value bytes = constantI64(b, elementBytes(alloc.getType().getElementType()));
      replace(op, call(offsetof(adapter_device_v1, allocate), pointer, {elements, bytes}),
              alloc.getDynamicSizes());
    } else if (auto dealloc = dyn_cast<memref::DeallocOp>(op)) {
      call(offsetof(adapter_device_v1, release), Type(), {pointerOf(dealloc.getMemref())});
      op->erase();
    } else if (auto parameter = dyn_cast<kernel::ParameterOp>(op)) {
      Value index = constantI64(b, parameter.getIndex());
      replace(op, call(offsetof(adapter_device_v1, parameter), pointer, {index}), {});
    } else if (isa<kernel::RowEntriesOp>(op)) {
      replace(op, call(offsetof(adapter_device_v1, rows), pointer, {}), {index(1)});
    } else if (auto numbers = dyn_cast<kernel::BankNumbersOp>(op)) {
      replace(op, bank(numbers.getBank(), 0), {index(1)});
    } else if (auto bankTable = dyn_cast<kernel::BankTableOp>(op)) {
      replace(op, bank(bankTable.getBank(), 1), {index(1)});
    } else if (auto copy = dyn_cast<gpu::MemcpyOp>(op)) {
      lowerCopy(copy);
    } else if (auto load = dyn_cast<memref::LoadOp>(op)) {
      lowerLoad(load);
    } else if (auto store = dyn_cast<memref::StoreOp>(op)) {
      lowerStore(store);
    } else if (auto launch = dyn_cast<gpu::LaunchFuncOp>(op)) {
      return lowerLaunch(launch);
    }
    return success();
  }

private:
  Value index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
  Value i64(Value index) { return b.createOrFold<arith::IndexCastOp>(b.getI64Type(), index); }

  // Elements of a buffer with these dynamic sizes, as an index.
  Value count(MemRefType type, ValueRange sizes) {
    int64_t known = 1;
    for (int64_t size : type.getShape())
      known *= ShapedType::isDynamic(size) ? 1 : size;
    Value result = index(known);
    for (Value size : sizes)
      result = b.createOrFold<arith::MulIOp>(result, size);
    return result;
  }

  // Calls function `offset` of the device table.
  Value call(int64_t offset, Type result, ValueRange arguments) {
    Value host = loadPointer(b, loadPointer(b, frame, FrameOffsets::kCall), CallOffsets::kHost);
    Value device = loadPointer(b, host, offsetof(adapter_host_v1, device));
    SmallVector<Value> operands{loadPointer(b, device, offset),
                                loadPointer(b, device, offsetof(adapter_device_v1, state))};
    llvm::append_range(operands, arguments);
    auto type = LLVM::LLVMFunctionType::get(result ? result : LLVM::LLVMVoidType::get(b.getContext()),
                                            SmallVector<Type>(ValueRange(operands).drop_front().getTypes()));
    auto made = LLVM::CallOp::create(b, type, operands);
    return result ? made.getResult() : Value();
  }

  Value bank(int64_t number, int32_t part) {
    Value which = LLVM::ConstantOp::create(b, b.getI32Type(), b.getI32IntegerAttr(part));
    return call(offsetof(adapter_device_v1, bank), pointer, {constantI64(b, number), which});
  }

  // Gives the result of `op` a handle and its sizes.
  void replace(Operation *op, Value handle, ValueRange sizes) {
    auto type = cast<MemRefType>(op->getResult(0).getType());
    // Without a known size it is a view of one element that is then given its shape.
    auto known = type.hasStaticShape() ? MemRefType::get(type.getShape(), type.getElementType())
                                       : MemRefType::get({1}, type.getElementType());
    Value descriptor = MemRefDescriptor::fromStaticShape(b, op->getLoc(), converter, known, handle);
    Value buffer = UnrealizedConversionCastOp::create(b, onDevice(known), descriptor).getResult(0);
    if (!type.hasStaticShape())
      buffer = kernel::ReshapeOp::create(b, type, buffer, sizes);
    op->getResult(0).replaceAllUsesWith(buffer);
    op->erase();
  }

  // A buffer's pointer: the handle on a device, the data's first byte on the host.
  Value pointerOf(Value memref) {
    Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, memref);
    return LLVM::IntToPtrOp::create(b, pointer, i64(address));
  }

  Value bytesOf(Value memref) {
    auto type = cast<MemRefType>(memref.getType());
    SmallVector<Value> sizes;
    for (int64_t dim = 0; dim < type.getRank(); ++dim)
      if (type.isDynamicDim(dim))
        sizes.push_back(memref::DimOp::create(b, memref, dim));
    Value bytes = index(elementBytes(type.getElementType()));
    return i64(b.createOrFold<arith::MulIOp>(count(type, sizes), bytes));
  }

  // Where an element, or for no indices the first one, begins.
  Value byteOffset(Value memref, ValueRange indices) {
    auto metadata = memref::ExtractStridedMetadataOp::create(b, memref);
    Value at = metadata.getOffset();
    for (auto [position, stride] : llvm::zip(indices, metadata.getStrides()))
      at = arith::AddIOp::create(b, at, arith::MulIOp::create(b, position, stride));
    Value bytes = index(elementBytes(cast<MemRefType>(memref.getType()).getElementType()));
    return i64(arith::MulIOp::create(b, at, bytes));
  }

  // A failed read makes the call fail; it goes on, with zeros, to where that is looked at.
  void read(Value buffer, Value offset, Value data, Value bytes) {
    Value failed =
        call(offsetof(adapter_device_v1, read), b.getI32Type(), {pointerOf(buffer), offset, data, bytes});
    Value place = pointerAt(b, frame, FrameOffsets::kStatus);
    Value before = LLVM::LoadOp::create(b, b.getI32Type(), place, /*alignment=*/4);
    LLVM::StoreOp::create(b, LLVM::OrOp::create(b, before, failed), place, /*alignment=*/4);
  }

  void lowerCopy(gpu::MemcpyOp copy) {
    Value to = copy.getDst(), from = copy.getSrc();
    if (isOnDevice(to.getType()))
      call(offsetof(adapter_device_v1, write), Type(),
           {pointerOf(to), constantI64(b, 0), pointerOf(from), bytesOf(from)});
    else
      read(from, byteOffset(from, {}), pointerOf(to), bytesOf(to));
    copy.erase();
  }

  // Memory of one element on the stack; booleans are bytes there.
  std::pair<Value, Type> element(Type type) {
    Type stored = type.isInteger(1) ? b.getI8Type() : type;
    return {LLVM::AllocaOp::create(b, pointer, stored, constantI64(b, 1)), stored};
  }

  void lowerLoad(memref::LoadOp load) {
    auto [place, stored] = element(load.getType());
    read(load.getMemRef(), byteOffset(load.getMemRef(), load.getIndices()), place,
         constantI64(b, elementBytes(load.getType())));
    Value value = LLVM::LoadOp::create(b, stored, place);
    if (stored != load.getType())
      value = arith::TruncIOp::create(b, load.getType(), value);
    load.replaceAllUsesWith(value);
    load.erase();
  }

  void lowerStore(memref::StoreOp store) {
    Value value = store.getValue();
    auto [place, stored] = element(value.getType());
    if (stored != value.getType())
      value = arith::ExtUIOp::create(b, stored, value);
    LLVM::StoreOp::create(b, value, place);
    call(offsetof(adapter_device_v1, write), Type(),
         {pointerOf(store.getMemRef()), byteOffset(store.getMemRef(), store.getIndices()), place,
          constantI64(b, elementBytes(store.getValue().getType()))});
    store.erase();
  }

  LogicalResult lowerLaunch(gpu::LaunchFuncOp launch) {
    int64_t number = -1;
    for (auto [i, row] : llvm::enumerate(table.getAsRange<DictionaryAttr>()))
      if (row.getAs<StringAttr>("name") == launch.getKernelName())
        number = static_cast<int64_t>(i);
    if (number < 0)
      return launch.emitOpError("launches a kernel that is not in the table");
    SmallVector<Value> buffers, scalars;
    for (Value operand : launch.getKernelOperands())
      (isa<MemRefType>(operand.getType()) ? buffers : scalars).push_back(operand);
    auto list = [&](ArrayRef<Value> values, Type type, int64_t bytes) {
      Value size = constantI64(b, std::max<size_t>(values.size(), 1));
      Value memory = LLVM::AllocaOp::create(b, pointer, type, size);
      for (auto [i, value] : llvm::enumerate(values))
        LLVM::StoreOp::create(b, value, pointerAt(b, memory, static_cast<int64_t>(i) * bytes));
      return memory;
    };
    for (Value &buffer : buffers)
      buffer = pointerOf(buffer);
    Value handles = list(buffers, pointer, 8), words = list(scalars, b.getI32Type(), 4);
    call(offsetof(adapter_device_v1, launch), Type(),
         {constantI64(b, number), i64(launch.getGridSizeX()), handles, words});
    launch.erase();
    return success();
  }

  Value frame;
  ImplicitLocOpBuilder b;
  ArrayAttr table;
  LLVM::LLVMPointerType pointer;
  LLVMTypeConverter converter;
};
} // namespace

// Once all uses of the device are calls, a handle is a pointer like any other.
static void forgetSpaces(func::FuncOp function) {
  auto plain = [](Value value) {
    if (isOnDevice(value.getType())) {
      auto type = cast<MemRefType>(value.getType());
      value.setType(MemRefType::get(type.getShape(), type.getElementType(), type.getLayout()));
    }
  };
  function.walk([&](Operation *op) {
    llvm::for_each(op->getResults(), plain);
    for (Region &region : op->getRegions())
      llvm::for_each(region.getArguments(), plain);
  });
}

namespace {
struct LowerDeviceCallsPass final : adapter::impl::LowerDeviceCallsPassBase<LowerDeviceCallsPass> {
  using Base::Base;
  void runOnOperation() override {
    auto table = getOperation()->getAttrOfType<ArrayAttr>(kernelTable);
    for (auto function : getOperation().getOps<func::FuncOp>()) {
      if (!isGraph(function) || function.isDeclaration() || !table)
        continue;
      SmallVector<Operation *> ops;
      function.walk([&](Operation *op) {
        auto touches = [](Value value) { return isOnDevice(value.getType()); };
        if (isa<gpu::LaunchFuncOp>(op) || llvm::any_of(op->getOperands(), touches) ||
            llvm::any_of(op->getResults(), touches))
          ops.push_back(op);
      });
      DeviceCalls calls(function, table);
      for (Operation *op : ops)
        if (failed(calls.lower(op)))
          return signalPassFailure();
      forgetSpaces(function);
    }
  }
};
} // namespace
