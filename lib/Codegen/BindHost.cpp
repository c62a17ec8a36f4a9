// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-bind-host: the last step in the LLVM dialect. Memory and threads come from the host table; every
// entry point gets a function of the artifact's one signature, int32_t (const adapter_call_v1 *).
#include "lib/Codegen/Frame.h"
#include "lib/Codegen/Passes.h"

namespace adapter {
#define GEN_PASS_DEF_BINDHOSTPASS
#include "lib/Codegen/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static LLVM::LLVMPointerType pointerType(MLIRContext *context) { return LLVM::LLVMPointerType::get(context); }

//===----------------------------------------------------------------------===//
// Memory
//===----------------------------------------------------------------------===//

static void bindAllocation(LLVM::CallOp call, LLVM::LLVMFuncOp fail, StringRef message) {
  auto function = call->getParentOfType<LLVM::LLVMFuncOp>();
  ImplicitLocOpBuilder b(call.getLoc(), call);
  Value frame = function.getArgument(0);
  Value memory = callHost(b, frame, offsetof(adapter_host_v1, allocate), pointerType(b.getContext()),
                          call.getArgOperands().back())
                     .getResult();
  Block *block = call->getBlock();
  Block *rest = block->splitBlock(call);
  Block *failing = b.createBlock(&function.getBody(), function.getBody().end());
  Value text = LLVM::AddressOfOp::create(b, pointerType(b.getContext()), message);
  callFail(b, fail, frame, text);
  Type result = function.getFunctionType().getReturnType();
  if (isa<LLVM::LLVMVoidType>(result))
    LLVM::ReturnOp::create(b, ValueRange());
  else
    LLVM::ReturnOp::create(b, ValueRange{LLVM::PoisonOp::create(b, result)});
  b.setInsertionPointToEnd(block);
  Value null = LLVM::ZeroOp::create(b, pointerType(b.getContext()));
  Value failed = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::eq, memory, null);
  LLVM::CondBrOp::create(b, failed, failing, rest);
  call.getResult().replaceAllUsesWith(memory);
  call.erase();
}

static void bindMemory(ModuleOp module) {
  SmallVector<LLVM::CallOp> allocations, releases;
  module.walk([&](LLVM::CallOp call) {
    std::optional<StringRef> callee = call.getCallee();
    if (callee && *callee == "malloc")
      allocations.push_back(call);
    else if (callee && *callee == "free")
      releases.push_back(call);
  });
  for (LLVM::CallOp call : releases) {
    ImplicitLocOpBuilder b(call.getLoc(), call);
    callHost(b, call->getParentOfType<LLVM::LLVMFuncOp>().getArgument(0), offsetof(adapter_host_v1, release),
             Type(), call.getArgOperands());
    call.erase();
  }
  if (!allocations.empty()) {
    LLVM::LLVMFuncOp fail = getOrMakeFail(module);
    ImplicitLocOpBuilder b(module.getLoc(), module.getContext());
    b.setInsertionPointToStart(module.getBody());
    std::string text = "out of memory";
    text.push_back('\0');
    LLVM::GlobalOp::create(b, LLVM::LLVMArrayType::get(b.getI8Type(), text.size()), /*isConstant=*/true,
                           LLVM::Linkage::Internal, "kernel.out_of_memory", b.getStringAttr(text));
    for (LLVM::CallOp call : allocations)
      bindAllocation(call, fail, "kernel.out_of_memory");
  }
  for (StringRef name : {"malloc", "free"})
    if (auto function = module.lookupSymbol<LLVM::LLVMFuncOp>(name))
      function.erase();
}

//===----------------------------------------------------------------------===//
// Parallel loops: launch(frame, count, grain, captured...) packs what the body captured and calls the
// host's parallel_for with a thunk that unpacks it.
//===----------------------------------------------------------------------===//

static void fillLaunch(LLVM::LLVMFuncOp launch, LLVM::LLVMFuncOp body) {
  auto module = launch->getParentOfType<ModuleOp>();
  MLIRContext *context = launch.getContext();
  ImplicitLocOpBuilder b(launch.getLoc(), context);
  LLVM::LLVMPointerType pointer = pointerType(context);
  Type i64 = b.getI64Type();

  // What the thunk needs: the frame and all arguments behind count and grain.
  ArrayRef<Type> types = launch.getFunctionType().getParams();
  SmallVector<Type> fields{types[0]};
  llvm::append_range(fields, types.drop_front(3));
  auto packed = LLVM::LLVMStructType::getLiteral(context, fields);

  b.setInsertionPointToEnd(module.getBody());
  auto thunk = LLVM::LLVMFuncOp::create(
      b, (launch.getName() + ".thunk").str(),
      LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(context), {pointer, i64, i64}),
      LLVM::Linkage::Internal);
  Block *entry = thunk.addEntryBlock(b);
  b.setInsertionPointToStart(entry);
  SmallVector<Value> arguments;
  for (size_t field = 0; field < fields.size(); ++field) {
    Value address = LLVM::GEPOp::create(b, pointer, packed, entry->getArgument(0),
                                        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(field)});
    arguments.push_back(LLVM::LoadOp::create(b, fields[field], address));
  }
  arguments.insert(arguments.begin() + 1, {entry->getArgument(1), entry->getArgument(2)});
  LLVM::CallOp::create(b, body, arguments);
  LLVM::ReturnOp::create(b, ValueRange());

  launch.setLinkage(LLVM::Linkage::Internal);
  entry = launch.addEntryBlock(b);
  Block *inlineBlock = b.createBlock(&launch.getBody(), launch.getBody().end());
  Block *launchBlock = b.createBlock(&launch.getBody(), launch.getBody().end());
  Value count = entry->getArgument(1), grain = entry->getArgument(2);
  b.setInsertionPointToStart(entry);
  Value one = constantI64(b, 1);
  Value memory = LLVM::AllocaOp::create(b, pointer, packed, one);
  Value isSmall = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::sle, count, grain);
  LLVM::CondBrOp::create(b, isSmall, inlineBlock, launchBlock);

  // Loops too small to share run here.
  b.setInsertionPointToStart(inlineBlock);
  arguments.assign({entry->getArgument(0), constantI64(b, 0), count});
  llvm::append_range(arguments, entry->getArguments().drop_front(3));
  LLVM::CallOp::create(b, body, arguments);
  LLVM::ReturnOp::create(b, ValueRange());

  b.setInsertionPointToStart(launchBlock);
  SmallVector<Value> captured{entry->getArgument(0)};
  llvm::append_range(captured, entry->getArguments().drop_front(3));
  for (auto [field, value] : llvm::enumerate(captured)) {
    Value address = LLVM::GEPOp::create(b, pointer, packed, memory,
                                        ArrayRef<LLVM::GEPArg>{0, static_cast<int32_t>(field)});
    LLVM::StoreOp::create(b, value, address);
  }
  Value function = LLVM::AddressOfOp::create(b, pointer, thunk.getName());
  callHost(b, entry->getArgument(0), offsetof(adapter_host_v1, parallel_for), Type(),
           ValueRange{function, memory, count, grain});
  LLVM::ReturnOp::create(b, ValueRange());
}

//===----------------------------------------------------------------------===//
// Entry points
//===----------------------------------------------------------------------===//

// Bytes of an element as it lies in memory.
static int64_t elementBytes(Type type) {
  if (type.isIndex())
    return 8;
  return llvm::divideCeil(type.getIntOrFloatBitWidth(), 8);
}

// Appends the fields of a memref descriptor over `tensor`, an adapter_tensor_v1.
static void unpackTensor(ImplicitLocOpBuilder &b, Value tensor, MemRefType type,
                         SmallVectorImpl<Value> &arguments) {
  Value data = loadPointer(b, tensor, offsetof(adapter_tensor_v1, data));
  Value dims = loadPointer(b, tensor, offsetof(adapter_tensor_v1, dims));
  arguments.append({data, data, constantI64(b, 0)});
  SmallVector<Value> sizes, strides(type.getRank());
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    sizes.push_back(type.isDynamicDim(dim) ? loadI64(b, dims, 8 * dim)
                                           : constantI64(b, type.getDimSize(dim)));
  Value stride = constantI64(b, 1);
  for (int64_t dim = type.getRank() - 1; dim >= 0; --dim) {
    strides[dim] = stride;
    stride = LLVM::MulOp::create(b, stride, sizes[dim]);
  }
  arguments.append(sizes);
  arguments.append(strides);
}

// Copies a result to where the host wants it; leaves to `failing` if there is no such place.
static void handOver(ImplicitLocOpBuilder &b, Value frame, Value descriptor, MemRefType type, int64_t index,
                     Block *failing) {
  LLVM::LLVMPointerType pointer = pointerType(b.getContext());
  auto field = [&](ArrayRef<int64_t> position) -> Value {
    return LLVM::ExtractValueOp::create(b, descriptor, position);
  };
  Value bytes = constantI64(b, elementBytes(type.getElementType()));
  SmallVector<Value> dims;
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    dims.push_back(field({3, dim}));
    bytes = LLVM::MulOp::create(b, bytes, dims.back());
  }
  Value place = askForOutput(b, frame, index, dims);
  Value null = LLVM::ZeroOp::create(b, pointer);
  Value failed = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::eq, place, null);
  Block *next = b.createBlock(failing);
  b.setInsertionPointAfter(failed.getDefiningOp());
  LLVM::CondBrOp::create(b, failed, failing, next);
  b.setInsertionPointToStart(next);
  // The source may be offset (a view); its data begin offset elements behind the aligned pointer.
  Value offset = LLVM::MulOp::create(b, field({2}), constantI64(b, elementBytes(type.getElementType())));
  Value source = LLVM::GEPOp::create(b, pointer, b.getI8Type(), field({1}), ArrayRef<LLVM::GEPArg>{offset});
  LLVM::MemcpyOp::create(b, place, source, bytes, /*isVolatile=*/false);
}

static void makeEntry(LLVM::LLVMFuncOp function, DictionaryAttr entryAttr) {
  auto module = function->getParentOfType<ModuleOp>();
  MLIRContext *context = function.getContext();
  ImplicitLocOpBuilder b(function.getLoc(), context);
  LLVM::LLVMPointerType pointer = pointerType(context);
  auto inputs = entryAttr.getAs<ArrayAttr>("inputs"), outputs = entryAttr.getAs<ArrayAttr>("outputs");
  auto symbol = entryAttr.getAs<StringAttr>("symbol");
  auto placed = entryAttr.getAs<DenseI64ArrayAttr>("placed");

  b.setInsertionPointToEnd(module.getBody());
  auto entry = LLVM::LLVMFuncOp::create(
      b, symbol.getValue(), LLVM::LLVMFunctionType::get(b.getI32Type(), {pointer}), LLVM::Linkage::External);
  entry.setVisibility_(LLVM::Visibility::Hidden);
  Block *block = entry.addEntryBlock(b);
  Block *failing = b.createBlock(&entry.getBody(), entry.getBody().end());
  b.setInsertionPointToStart(failing);
  auto i32 = [&](int64_t value) -> Value {
    return LLVM::ConstantOp::create(b, b.getI32Type(), b.getI32IntegerAttr(value));
  };
  LLVM::ReturnOp::create(b, ValueRange{i32(1)});

  b.setInsertionPointToStart(block);
  Value call = block->getArgument(0);
  Value size = constantI64(b, FrameOffsets::kSize);
  Value frame = LLVM::AllocaOp::create(b, pointer, b.getI8Type(), size, /*alignment=*/8);
  LLVM::StoreOp::create(b, call, pointerAt(b, frame, FrameOffsets::kCall));
  LLVM::StoreOp::create(b, i32(0), pointerAt(b, frame, FrameOffsets::kStatus));
  SmallVector<Value> arguments{frame};
  Value tensors = loadPointer(b, call, CallOffsets::kInputs);
  for (auto [index, attr] : llvm::enumerate(inputs)) {
    auto type = cast<MemRefType>(cast<TypeAttr>(attr).getValue());
    unpackTensor(b, pointerAt(b, tensors, index * sizeof(adapter_tensor_v1)), type, arguments);
  }
  Value result;
  auto callOp = LLVM::CallOp::create(b, function, arguments);
  if (callOp.getNumResults())
    result = callOp.getResult();
  Value status = LLVM::LoadOp::create(b, b.getI32Type(), pointerAt(b, frame, FrameOffsets::kStatus));
  Value failed = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, status, i32(0));
  Block *next = b.createBlock(failing);
  b.setInsertionPointAfter(failed.getDefiningOp());
  LLVM::CondBrOp::create(b, failed, failing, next);
  b.setInsertionPointToStart(next);
  for (auto [index, attr] : llvm::enumerate(outputs)) {
    if (placed && llvm::is_contained(placed.asArrayRef(), static_cast<int64_t>(index)))
      continue; // written there in the first place
    auto type = cast<MemRefType>(cast<TypeAttr>(attr).getValue());
    Value descriptor = result;
    if (outputs.size() > 1)
      descriptor = LLVM::ExtractValueOp::create(b, result, ArrayRef<int64_t>{static_cast<int64_t>(index)});
    handOver(b, frame, descriptor, type, index, failing);
  }
  LLVM::ReturnOp::create(b, ValueRange{i32(0)});
}

namespace {
struct BindHostPass final : adapter::impl::BindHostPassBase<BindHostPass> {
  using Base::Base;
  void runOnOperation() override {
    ModuleOp module = getOperation();
    SmallVector<LLVM::LLVMFuncOp> launches, entries;
    for (auto function : module.getOps<LLVM::LLVMFuncOp>()) {
      if (function->hasAttr("kernel.launch"))
        launches.push_back(function);
      if (function->hasAttr("kernel.entry"))
        entries.push_back(function);
      if (!function.isExternal())
        function.setLinkage(LLVM::Linkage::Internal);
    }
    bindMemory(module);
    for (LLVM::LLVMFuncOp launch : launches) {
      auto symbol = launch->getAttrOfType<FlatSymbolRefAttr>("kernel.launch");
      auto body = module.lookupSymbol<LLVM::LLVMFuncOp>(symbol.getValue());
      if (!body) {
        launch.emitOpError("launches ") << symbol << ", which does not exist";
        return signalPassFailure();
      }
      fillLaunch(launch, body);
      launch->removeAttr("kernel.launch");
    }
    for (LLVM::LLVMFuncOp function : entries) {
      makeEntry(function, function->getAttrOfType<DictionaryAttr>("kernel.entry"));
      function->removeAttr("kernel.entry");
    }
  }
};
} // namespace
