// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// kernel-prepare-spirv: what Vulkan's kernels may be given are buffers alone, bound by number.
#include "lib/Codegen/GPU/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/MemRef/IR/MemRef.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVAttributes.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVDialect.h"
#include "mlir/Dialect/SPIRV/IR/TargetAndABI.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_PREPARESPIRVPASS
#include "lib/Codegen/GPU/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

static MemRefType inClass(MemRefType type, spirv::StorageClass storage) {
  Type element = type.getElementType();
  if (element.isInteger(1))
    element = IntegerType::get(type.getContext(), 8);
  return MemRefType::get(type.getShape(), element, MemRefLayoutAttrInterface(),
                         spirv::StorageClassAttr::get(type.getContext(), storage));
}

// Booleans are bytes in memory.
static void storeBytes(Value buffer) {
  for (Operation *user : llvm::to_vector(buffer.getUsers())) {
    ImplicitLocOpBuilder b(user->getLoc(), user);
    if (auto load = dyn_cast<memref::LoadOp>(user)) {
      Value byte = memref::LoadOp::create(b, buffer, load.getIndices());
      load.replaceAllUsesWith(arith::TruncIOp::create(b, b.getI1Type(), byte).getResult());
      load.erase();
    } else if (auto store = dyn_cast<memref::StoreOp>(user);
               store && store.getValue().getType().isInteger(1)) {
      Value byte = arith::ExtUIOp::create(b, b.getI8Type(), store.getValue());
      memref::StoreOp::create(b, byte, buffer, store.getIndices());
      store.erase();
    }
  }
}

// Conversion leaves the results of a loop that runs no iteration undefined; they are what it started with.
static void keepStarts(gpu::GPUFuncOp kernel) {
  kernel.walk([](scf::ForOp loop) {
    std::optional<int64_t> from = getConstantIntValue(loop.getLowerBound()),
                           to = getConstantIntValue(loop.getUpperBound());
    if (!loop.getNumResults() || (from && to && *from < *to))
      return;
    ImplicitLocOpBuilder b(loop.getLoc(), loop->getContext());
    b.setInsertionPointAfter(loop);
    Value runs =
        arith::CmpIOp::create(b, arith::CmpIPredicate::slt, loop.getLowerBound(), loop.getUpperBound());
    for (auto [result, start] : llvm::zip(loop.getResults(), loop.getInitArgs())) {
      auto select = arith::SelectOp::create(b, runs, result, start);
      result.replaceAllUsesExcept(select, select);
    }
  });
}

static void prepare(gpu::GPUFuncOp kernel) {
  keepStarts(kernel);
  Block &entry = kernel.getBody().front();
  ImplicitLocOpBuilder b(kernel.getLoc(), kernel.getContext());
  b.setInsertionPointToStart(&entry);
  unsigned count = kernel.getNumArguments();

  SmallVector<Type> types;
  SmallVector<unsigned> scalars;
  for (BlockArgument argument : entry.getArguments().take_front(count)) {
    if (auto type = dyn_cast<MemRefType>(argument.getType())) {
      argument.setType(inClass(type, spirv::StorageClass::StorageBuffer));
      types.push_back(argument.getType());
      if (type.getElementType().isInteger(1))
        storeBytes(argument);
    } else {
      scalars.push_back(argument.getArgNumber());
    }
  }

  // Memory of the group; what is left of the arguments goes after its uses.
  unsigned shared = kernel.getNumWorkgroupAttributions();
  for (BlockArgument argument : kernel.getWorkgroupAttributions()) {
    auto type = inClass(cast<MemRefType>(argument.getType()), spirv::StorageClass::Workgroup);
    argument.replaceAllUsesWith(memref::AllocOp::create(b, type).getResult());
  }
  entry.eraseArguments(count, shared);
  kernel->setAttr(kernel.getNumWorkgroupAttributionsAttrName(), b.getI64IntegerAttr(0));

  if (!scalars.empty()) {
    auto type =
        inClass(MemRefType::get({ShapedType::kDynamic}, b.getI32Type()), spirv::StorageClass::StorageBuffer);
    Value words = entry.insertArgument(count, type, kernel.getLoc());
    types.push_back(type);
    for (auto [i, number] : llvm::enumerate(scalars)) {
      Value at = arith::ConstantIndexOp::create(b, static_cast<int64_t>(i));
      entry.getArgument(number).replaceAllUsesWith(memref::LoadOp::create(b, words, at).getResult());
    }
    entry.eraseArguments(scalars.front(), static_cast<unsigned>(scalars.size()));
  }
  kernel.setFunctionType(b.getFunctionType(types, {}));
  kernel->setAttr(spirv::getEntryPointABIAttrName(),
                  spirv::getEntryPointABIAttr(b.getContext(), *kernel.getKnownBlockSize()));
}

namespace {
struct PrepareSPIRVPass final : adapter::impl::PrepareSPIRVPassBase<PrepareSPIRVPass> {
  using Base::Base;
  void runOnOperation() override {
    for (auto module : getOperation().getOps<gpu::GPUModuleOp>())
      for (auto kernel : module.getOps<gpu::GPUFuncOp>())
        prepare(kernel);
    MLIRContext *context = &getContext();
    auto triple = spirv::VerCapExtAttr::get(
        spirv::Version::V_1_3,
        {spirv::Capability::Shader, spirv::Capability::Int64, spirv::Capability::Int8,
         spirv::Capability::StorageBuffer8BitAccess},
        {spirv::Extension::SPV_KHR_storage_buffer_storage_class, spirv::Extension::SPV_KHR_8bit_storage},
        context);
    getOperation()->setAttr(spirv::getTargetEnvAttrName(),
                            spirv::TargetEnvAttr::get(triple, spirv::getDefaultResourceLimits(context),
                                                      spirv::ClientAPI::Vulkan));
  }
};
} // namespace
