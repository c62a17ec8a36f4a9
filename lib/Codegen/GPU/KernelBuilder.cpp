// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See KernelBuilder.h.
#include "lib/Codegen/GPU/KernelBuilder.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Interfaces/ViewLikeInterface.h"

using namespace mlir;
using namespace adapter;

static Attribute deviceSpace(MLIRContext *context) {
  return gpu::AddressSpaceAttr::get(context, gpu::AddressSpace::Global);
}

MemRefType adapter::onDevice(MemRefType type) {
  return MemRefType::get(type.getShape(), type.getElementType(), type.getLayout(),
                         deviceSpace(type.getContext()));
}

bool adapter::isOnDevice(Type type) {
  auto memref = dyn_cast<MemRefType>(type);
  return memref && memref.getMemorySpace() == deviceSpace(type.getContext());
}

//===----------------------------------------------------------------------===//
// On the host
//===----------------------------------------------------------------------===//

// The memref whose elements all others that views make of it share.
static Value allocationOf(Value memref) {
  while (Operation *op = memref.getDefiningOp()) {
    if (auto reshape = dyn_cast<kernel::ReshapeOp>(op))
      memref = reshape.getSource();
    else if (auto view = dyn_cast<ViewLikeOpInterface>(op))
      memref = view.getViewSource();
    else
      break;
  }
  return memref;
}

Value KernelBuilder::product(ArrayRef<Value> sizes) {
  Value result = index(1);
  for (Value size : sizes)
    result = mul(result, size);
  return result;
}

FlatBuffer KernelBuilder::flatten(Value memref) {
  auto type = cast<MemRefType>(memref.getType());
  FlatBuffer flat;
  int64_t offset;
  SmallVector<int64_t> strides;
  (void)type.getStridesAndOffset(strides, offset);
  bool isStatic = !ShapedType::isDynamic(offset) && llvm::none_of(strides, ShapedType::isDynamic);
  memref::ExtractStridedMetadataOp metadata;
  if (!isStatic)
    metadata = memref::ExtractStridedMetadataOp::create(b, memref);
  flat.offset = ShapedType::isDynamic(offset) ? OpFoldResult(metadata.getOffset()) : b.getIndexAttr(offset);
  for (auto [dim, stride] : llvm::enumerate(strides))
    flat.strides.push_back(ShapedType::isDynamic(stride) ? OpFoldResult(metadata.getStrides()[dim])
                                                         : b.getIndexAttr(stride));
  Value allocation = allocationOf(memref);
  Value &buffer = buffers[allocation];
  if (!buffer) {
    auto whole = cast<MemRefType>(allocation.getType());
    SmallVector<Value> sizes;
    for (int64_t dim = 0; dim < whole.getRank(); ++dim)
      sizes.push_back(b.createOrFold<memref::DimOp>(allocation, dim));
    auto oneDimension = MemRefType::get({ShapedType::kDynamic}, whole.getElementType(),
                                        MemRefLayoutAttrInterface(), whole.getMemorySpace());
    buffer = memref::ReinterpretCastOp::create(b, oneDimension, allocation, OpFoldResult(b.getIndexAttr(0)),
                                               ArrayRef<OpFoldResult>{product(sizes)},
                                               ArrayRef<OpFoldResult>{b.getIndexAttr(1)});
  }
  flat.buffer = buffer;
  return flat;
}

void KernelBuilder::begin(Value count, int64_t threads, ArrayRef<int64_t> sharedSizes) {
  Value one = index(1);
  groupCount = b.createOrFold<arith::MinSIOp>(count, index(strategy.maxGroups));
  SmallVector<Type> attributions;
  auto space = gpu::AddressSpaceAttr::get(b.getContext(), gpu::AddressSpace::Workgroup);
  for (int64_t size : sharedSizes)
    attributions.push_back(MemRefType::get({size}, b.getF32Type(), MemRefLayoutAttrInterface(), space));
  launch = gpu::LaunchOp::create(b, groupCount, one, one, index(threads), one, one, Value(), Type(),
                                 ValueRange(), attributions, TypeRange(), Value(), Value(), Value(),
                                 FlatSymbolRefAttr(), FlatSymbolRefAttr::get(b.getContext(), name));
  b.setInsertionPointToStart(&launch.getBody().front());
}

void KernelBuilder::beginElements(Value count) {
  begin(ceilDiv(count, index(strategy.threads)), strategy.threads);
}

void KernelBuilder::finish() {
  gpu::TerminatorOp::create(b);
  b.setInsertionPointAfter(launch);
}

//===----------------------------------------------------------------------===//
// In the kernel
//===----------------------------------------------------------------------===//

Value KernelBuilder::index(int64_t value) { return arith::ConstantIndexOp::create(b, value); }
Value KernelBuilder::add(Value x, Value y) { return b.createOrFold<arith::AddIOp>(x, y); }
Value KernelBuilder::mul(Value x, Value y) { return b.createOrFold<arith::MulIOp>(x, y); }
Value KernelBuilder::div(Value x, Value y) { return b.createOrFold<arith::DivUIOp>(x, y); }
Value KernelBuilder::rem(Value x, Value y) { return b.createOrFold<arith::RemUIOp>(x, y); }
Value KernelBuilder::ceilDiv(Value x, Value y) {
  return div(add(x, b.createOrFold<arith::SubIOp>(y, index(1))), y);
}
Value KernelBuilder::less(Value x, Value y) {
  return b.createOrFold<arith::CmpIOp>(arith::CmpIPredicate::slt, x, y);
}
Value KernelBuilder::both(Value x, Value y) { return b.createOrFold<arith::AndIOp>(x, y); }

Value KernelBuilder::position(const FlatBuffer &flat, ArrayRef<Value> indices) {
  Value at = getValueOrCreateConstantIndexOp(b, b.getLoc(), flat.offset);
  for (auto [position, stride] : llvm::zip(indices, flat.strides))
    at = add(at, mul(position, getValueOrCreateConstantIndexOp(b, b.getLoc(), stride)));
  return at;
}

Value KernelBuilder::load(const FlatBuffer &from, ArrayRef<Value> indices) {
  return memref::LoadOp::create(b, from.buffer, position(from, indices));
}

void KernelBuilder::store(Value value, const FlatBuffer &to, ArrayRef<Value> indices) {
  memref::StoreOp::create(b, value, to.buffer, position(to, indices));
}

void KernelBuilder::loop(Value from, Value to, Value step, llvm::function_ref<void(Value)> body) {
  auto range = scf::ForOp::create(b, from, to, step);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(range.getBody());
  body(range.getInductionVar());
}

void KernelBuilder::forElements(Value count, llvm::function_ref<void(Value)> body) {
  Value threads = index(strategy.threads);
  loop(add(mul(group(), threads), thread()), count, mul(groups(), threads), body);
}

void KernelBuilder::forGroups(Value count, llvm::function_ref<void(Value)> body) {
  loop(group(), count, groups(), body);
}

void KernelBuilder::when(Value condition, llvm::function_ref<void()> then,
                         llvm::function_ref<void()> otherwise) {
  auto branch = scf::IfOp::create(b, TypeRange(), condition, static_cast<bool>(otherwise));
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  then();
  if (otherwise) {
    b.setInsertionPointToStart(branch.elseBlock());
    otherwise();
  }
}

Value KernelBuilder::valueIf(Value condition, Type type, llvm::function_ref<Value()> value) {
  auto branch = scf::IfOp::create(b, TypeRange{type}, condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(branch.thenBlock());
  scf::YieldOp::create(b, value());
  b.setInsertionPointToStart(branch.elseBlock());
  scf::YieldOp::create(b, arith::ConstantOp::create(b, b.getZeroAttr(type)).getResult());
  return branch.getResult(0);
}

SmallVector<Value> KernelBuilder::delinearise(Value linear, ArrayRef<Value> sizes) {
  SmallVector<Value> indices(sizes.size());
  for (size_t dim = sizes.size(); dim-- > 0;) {
    if (dim == 0) {
      indices[0] = linear;
      break;
    }
    indices[dim] = rem(linear, sizes[dim]);
    linear = div(linear, sizes[dim]);
  }
  return indices;
}

//===----------------------------------------------------------------------===//
// Checks
//===----------------------------------------------------------------------===//

int64_t KernelChecks::number(StringRef checked) {
  // The numbers stay on the device: threads that fail at once would mix theirs.
  std::string message = checked.str();
  for (const char *place : {"{0}", "{1}", "{2}"})
    if (size_t at = message.rfind(place); at != std::string::npos)
      message.replace(at, 3, "?");
  auto found = llvm::find(messages, message);
  if (found == messages.end()) {
    messages.push_back(message);
    return static_cast<int64_t>(messages.size());
  }
  return found - messages.begin() + 1;
}

Value KernelChecks::status(Operation *op) {
  auto function = op->getParentOfType<func::FuncOp>();
  Value &status = statuses[function];
  if (!status) {
    ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
    b.setInsertionPointToStart(&function.getBody().front());
    status = memref::AllocOp::create(b, onDevice(MemRefType::get({1}, b.getI32Type())));
    Value none = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
    memref::StoreOp::create(b, none, status, ValueRange{arith::ConstantIndexOp::create(b, 0)});
  }
  return status;
}

void KernelChecks::finish() {
  for (auto &[function, status] : statuses)
    for (Block &block : cast<func::FuncOp>(function).getBody()) {
      auto last = dyn_cast<func::ReturnOp>(block.getTerminator());
      if (!last)
        continue;
      ImplicitLocOpBuilder b(last.getLoc(), last);
      Value number =
          memref::LoadOp::create(b, status, ValueRange{arith::ConstantIndexOp::create(b, 0)}).getResult();
      for (auto [i, message] : llvm::enumerate(messages)) {
        Value other = arith::ConstantOp::create(b, b.getI32IntegerAttr(static_cast<int32_t>(i + 1)));
        Value fine = arith::CmpIOp::create(b, arith::CmpIPredicate::ne, number, other);
        kernel::RequireOp::create(b, fine, b.getStringAttr(message), ValueRange());
      }
    }
}
