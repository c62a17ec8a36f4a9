// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-place-on-device: one memory space for all buffers of a graph, copies at its ends.
#include "lib/Codegen/GPU/KernelBuilder.h"
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace adapter {
#define GEN_PASS_DEF_PLACEONDEVICEPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

// A copy of a contiguous buffer in the memory that `type` says.
static Value copyTo(ImplicitLocOpBuilder &b, Value source, MemRefType type) {
  SmallVector<Value> sizes;
  for (int64_t dim = 0; dim < type.getRank(); ++dim)
    if (type.isDynamicDim(dim))
      sizes.push_back(memref::DimOp::create(b, source, dim));
  Value copy = memref::AllocOp::create(b, type, sizes);
  gpu::MemcpyOp::create(b, TypeRange(), ValueRange(), copy, source);
  return copy;
}

static void place(func::FuncOp function) {
  ImplicitLocOpBuilder b(function.getLoc(), function.getContext());
  function.walk([](Operation *op) {
    if (isa<memref::GetGlobalOp>(op))
      return;
    for (Value result : op->getResults())
      if (auto type = dyn_cast<MemRefType>(result.getType()))
        result.setType(onDevice(type));
    if (isa<func::FuncOp>(op))
      return;
    for (Region &region : op->getRegions())
      for (BlockArgument argument : region.getArguments())
        if (auto type = dyn_cast<MemRefType>(argument.getType()))
          argument.setType(onDevice(type));
  });
  auto bring = [&](Value value) {
    auto type = dyn_cast<MemRefType>(value.getType());
    if (!type)
      return;
    SmallVector<OpOperand *> uses = llvm::map_to_vector(value.getUses(), [](OpOperand &use) { return &use; });
    Value copy = copyTo(b, value, onDevice(type));
    for (OpOperand *use : uses)
      use->set(copy);
  };
  b.setInsertionPointToStart(&function.getBody().front());
  for (BlockArgument argument : function.getArguments())
    bring(argument);
  function.walk([&](memref::GetGlobalOp global) {
    b.setInsertionPointAfter(global);
    bring(global);
  });
  function.walk([&](func::ReturnOp last) {
    b.setInsertionPoint(last);
    for (auto [operand, type] : llvm::zip(last->getOpOperands(), function.getResultTypes()))
      if (auto memref = dyn_cast<MemRefType>(type))
        operand.set(copyTo(b, operand.get(), memref));
  });
}

namespace {
struct PlaceOnDevicePass final : adapter::impl::PlaceOnDevicePassBase<PlaceOnDevicePass> {
  using Base::Base;
  void runOnOperation() override {
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (isGraph(function) && !function.isDeclaration())
        place(function);
  }
};
} // namespace
