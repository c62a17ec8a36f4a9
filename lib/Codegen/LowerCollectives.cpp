// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A part of kernel-lower-calls: what several processes do together, and what the host is told, as calls of functions
// in the host table.
#include "lib/Codegen/LowerCollectives.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Codegen/Frame.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

using namespace mlir;
using namespace adapter;

static LLVM::LLVMPointerType pointerType(ImplicitLocOpBuilder &b) {
  return LLVM::LLVMPointerType::get(b.getContext());
}

static Value frameOf(Operation *op) { return op->getParentOfType<func::FuncOp>().getArgument(0); }

static Value hostOf(ImplicitLocOpBuilder &b, Operation *op) {
  return loadPointer(b, loadPointer(b, frameOf(op), FrameOffsets::kCall), CallOffsets::kHost);
}

static Value collectivesOf(ImplicitLocOpBuilder &b, Operation *op) {
  return loadPointer(b, hostOf(b, op), offsetof(adapter_host_v1, collectives));
}

static Value toI64(ImplicitLocOpBuilder &b, Value index) {
  return arith::IndexCastOp::create(b, b.getI64Type(), index);
}

// The first byte of a contiguous buffer.
static Value dataOf(ImplicitLocOpBuilder &b, Value buffer) {
  Value address = memref::ExtractAlignedPointerAsIndexOp::create(b, buffer);
  return LLVM::IntToPtrOp::create(b, pointerType(b), toI64(b, address));
}

static int64_t elementBytes(Value buffer) {
  return cast<MemRefType>(buffer.getType()).getElementTypeBitWidth() / 8;
}

// Bytes of a row: all dimensions but the first.
static Value rowBytes(ImplicitLocOpBuilder &b, Value buffer) {
  Value bytes = constantI64(b, elementBytes(buffer));
  for (int64_t dim = 1; dim < cast<MemRefType>(buffer.getType()).getRank(); ++dim)
    bytes = arith::MulIOp::create(b, bytes, toI64(b, memref::DimOp::create(b, buffer, dim)));
  return bytes;
}

// Calls a function of the table of collectives; the assert is lowered as all of them are.
static void callCollective(ImplicitLocOpBuilder &b, Operation *op, int64_t offset, ValueRange arguments) {
  Value table = collectivesOf(b, op);
  SmallVector<Value> operands{loadPointer(b, table, offset),
                              loadPointer(b, table, offsetof(adapter_collectives_v1, state))};
  llvm::append_range(operands, arguments);
  SmallVector<Type> types{pointerType(b)};
  llvm::append_range(types, arguments.getTypes());
  Value status =
      LLVM::CallOp::create(b, LLVM::LLVMFunctionType::get(b.getI32Type(), types), operands).getResult();
  Value zero = arith::ConstantOp::create(b, b.getI32IntegerAttr(0));
  Value isDone = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, status, zero);
  cf::AssertOp::create(b, isDone, b.getStringAttr("experts: an exchange between processes failed"));
  op->erase();
}

static void lowerProcess(kernel::ProcessOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value address = pointerAt(b, collectivesOf(b, op), offsetof(adapter_collectives_v1, rank));
  Value rank = LLVM::LoadOp::create(b, b.getI32Type(), address, /*alignment=*/4);
  op.getResult().replaceAllUsesWith(arith::IndexCastOp::create(b, b.getIndexType(), rank));
  op->erase();
}

static void lowerAllToAll(kernel::AllToAllOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  callCollective(b, op, offsetof(adapter_collectives_v1, all_to_all),
                 {dataOf(b, op.getInput()), dataOf(b, op.getOutput()), rowBytes(b, op.getInput())});
}

static void lowerAllToAllRows(kernel::AllToAllRowsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  callCollective(b, op, offsetof(adapter_collectives_v1, all_to_all_v),
                 {dataOf(b, op.getInput()), dataOf(b, op.getSend()), dataOf(b, op.getOutput()),
                  dataOf(b, op.getReceive()), rowBytes(b, op.getOutput())});
}

static void lowerAllGatherRows(kernel::AllGatherRowsOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  callCollective(b, op, offsetof(adapter_collectives_v1, all_gather_v),
                 {dataOf(b, op.getInput()), dataOf(b, op.getOutput()), dataOf(b, op.getCounts()),
                  rowBytes(b, op.getOutput())});
}

// A test for null is all that it costs where nobody listens.
static void lowerRouted(kernel::RoutedOp op) {
  ImplicitLocOpBuilder b(op.getLoc(), op);
  Value host = hostOf(b, op);
  Value function = loadPointer(b, host, offsetof(adapter_host_v1, routed));
  Value null = LLVM::ZeroOp::create(b, pointerType(b));
  Value listens = LLVM::ICmpOp::create(b, LLVM::ICmpPredicate::ne, function, null);
  Block *block = op->getBlock(), *rest = block->splitBlock(op->getNextNode());
  Block *telling = b.createBlock(rest);
  b.setInsertionPoint(op);
  cf::CondBranchOp::create(b, listens, telling, rest);
  b.setInsertionPointToStart(telling);
  auto size = [&](int64_t dim) { return toI64(b, memref::DimOp::create(b, op.getIds(), dim)); };
  Value layer = LLVM::ConstantOp::create(b, b.getI32Type(), b.getI32IntegerAttr(op.getLayer()));
  SmallVector<Value> operands{function, loadPointer(b, host, offsetof(adapter_host_v1, state)),
                              layer,    size(0),
                              size(1),  dataOf(b, op.getIds())};
  Type i64 = b.getI64Type();
  auto type = LLVM::LLVMFunctionType::get(LLVM::LLVMVoidType::get(b.getContext()),
                                          {pointerType(b), b.getI32Type(), i64, i64, pointerType(b)});
  LLVM::CallOp::create(b, type, operands);
  cf::BranchOp::create(b, rest);
  op->erase();
}

void adapter::lowerCollectives(ModuleOp module) {
  SmallVector<Operation *> ops;
  module.walk([&](Operation *op) {
    if (isa<kernel::ProcessOp, kernel::AllToAllOp, kernel::AllToAllRowsOp, kernel::AllGatherRowsOp,
            kernel::RoutedOp>(op))
      ops.push_back(op);
  });
  for (Operation *op : ops) {
    if (auto process = dyn_cast<kernel::ProcessOp>(op))
      lowerProcess(process);
    else if (auto exchange = dyn_cast<kernel::AllToAllOp>(op))
      lowerAllToAll(exchange);
    else if (auto exchange = dyn_cast<kernel::AllToAllRowsOp>(op))
      lowerAllToAllRows(exchange);
    else if (auto gather = dyn_cast<kernel::AllGatherRowsOp>(op))
      lowerAllGatherRows(gather);
    else
      lowerRouted(cast<kernel::RoutedOp>(op));
  }
}
