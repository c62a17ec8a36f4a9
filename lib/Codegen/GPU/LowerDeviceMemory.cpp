// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-lower-device-memory: kernels use buffers of one dimension by loads and stores alone, so pointers
// replace them before any conversion has to agree on how a memref is passed.
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/TypeSwitch.h"

namespace adapter {
#define GEN_PASS_DEF_LOWERDEVICEMEMORYPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static constexpr unsigned kGlobalSpace = 1, kGroupSpace = 3;

// LLVM's name of a math function that every target has, "" for none.
static StringRef intrinsicOf(Operation *op) {
  return llvm::TypeSwitch<Operation *, StringRef>(op)
      .Case<math::SqrtOp>([](auto) { return "llvm.sqrt"; })
      .Case<math::FloorOp>([](auto) { return "llvm.floor"; })
      .Case<math::CeilOp>([](auto) { return "llvm.ceil"; })
      .Case<math::TruncOp>([](auto) { return "llvm.trunc"; })
      .Case<math::RoundEvenOp>([](auto) { return "llvm.roundeven"; })
      .Case<math::AbsFOp>([](auto) { return "llvm.fabs"; })
      .Case<math::FmaOp>([](auto) { return "llvm.fma"; })
      .Case<math::CopySignOp>([](auto) { return "llvm.copysign"; })
      .Default([](Operation *) { return ""; });
}

namespace {
class KernelMemory {
public:
  KernelMemory(gpu::GPUFuncOp kernel, unsigned indexBits)
      : kernel(kernel), b(kernel.getContext()), indexType(IntegerType::get(b.getContext(), indexBits)) {}

  void lower() {
    Block &entry = kernel.getBody().front();
    SmallVector<Type> types;
    for (BlockArgument argument : entry.getArguments().take_front(kernel.getNumArguments())) {
      if (isa<MemRefType>(argument.getType())) {
        b.setInsertionPointToStart(&entry);
        Type element = cast<MemRefType>(argument.getType()).getElementType();
        argument.setType(LLVM::LLVMPointerType::get(b.getContext(), kGlobalSpace));
        lowerUses(argument, argument, element);
      }
      types.push_back(argument.getType());
    }
    kernel.setFunctionType(b.getFunctionType(types, {}));
    lowerAttributions(entry);
    SmallVector<Operation *> functions;
    kernel.walk([&](Operation *op) {
      if (!intrinsicOf(op).empty())
        functions.push_back(op);
    });
    for (Operation *op : functions) {
      b.setInsertionPoint(op);
      auto call = LLVM::CallIntrinsicOp::create(b, op->getLoc(), op->getResult(0).getType(),
                                                b.getStringAttr(intrinsicOf(op)), op->getOperands());
      op->replaceAllUsesWith(call->getResults());
      op->erase();
    }
  }

private:
  // Memory of the group is a global of the module.
  void lowerAttributions(Block &entry) {
    unsigned first = kernel.getNumArguments();
    for (auto [i, argument] : llvm::enumerate(kernel.getWorkgroupAttributions())) {
      auto type = cast<MemRefType>(argument.getType());
      auto array = LLVM::LLVMArrayType::get(type.getElementType(), type.getNumElements());
      b.setInsertionPoint(kernel);
      std::string name = (kernel.getName() + "_shared" + Twine(i)).str();
      LLVM::GlobalOp::create(b, kernel.getLoc(), array, /*isConstant=*/false, LLVM::Linkage::Internal, name,
                             Attribute(), /*alignment=*/16, kGroupSpace);
      b.setInsertionPointToStart(&entry);
      Value address = LLVM::AddressOfOp::create(
          b, kernel.getLoc(), LLVM::LLVMPointerType::get(b.getContext(), kGroupSpace), name);
      lowerUses(argument, address, type.getElementType());
    }
    unsigned count = kernel.getNumWorkgroupAttributions();
    entry.eraseArguments(first, count);
    kernel->setAttr(kernel.getNumWorkgroupAttributionsAttrName(), b.getI64IntegerAttr(0));
  }

  void lowerUses(Value buffer, Value pointer, Type element) {
    Type stored = element.isInteger(1) ? b.getI8Type() : element;
    for (Operation *user : llvm::to_vector(buffer.getUsers())) {
      ImplicitLocOpBuilder at(user->getLoc(), user);
      auto address = [&](ValueRange indices) -> Value {
        Value position = arith::IndexCastOp::create(at, indexType, indices.front());
        return LLVM::GEPOp::create(at, pointer.getType(), stored, pointer, ArrayRef<LLVM::GEPArg>{position});
      };
      if (auto load = dyn_cast<memref::LoadOp>(user)) {
        Value value = LLVM::LoadOp::create(at, stored, address(load.getIndices()));
        if (stored != element)
          value = arith::TruncIOp::create(at, element, value);
        load.replaceAllUsesWith(value);
        load.erase();
      } else if (auto store = dyn_cast<memref::StoreOp>(user)) {
        Value value = store.getValue();
        if (stored != element)
          value = arith::ExtUIOp::create(at, stored, value);
        LLVM::StoreOp::create(at, value, address(store.getIndices()));
        store.erase();
      }
    }
  }

  gpu::GPUFuncOp kernel;
  OpBuilder b;
  Type indexType;
};

struct LowerDeviceMemoryPass final : adapter::impl::LowerDeviceMemoryPassBase<LowerDeviceMemoryPass> {
  using Base::Base;
  void runOnOperation() override {
    for (auto kernel : getOperation().getOps<gpu::GPUFuncOp>())
      KernelMemory(kernel, indexBits).lower();
  }
};
} // namespace
