// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The phases from ONNX to LLVM: for CPUs, and for devices with a host.
#include "adapter/Pipelines.h"
#include "lib/Codegen/GPU/Passes.h"
#include "lib/Codegen/Passes.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/GPU/Transforms/Passes.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/SPIRV/IR/SPIRVOps.h"
#include "mlir/Dialect/SPIRV/Transforms/Passes.h"
#include "mlir/Dialect/Vector/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace adapter;

static void buildLinalg(OpPassManager &manager, const CodegenOptions &options) {
  ConvertONNXToLinalgPassOptions convert;
  convert.columnBlock = options.columnBlock();
  convert.rowInput = options.rowInput;
  convert.rowAxis = options.rowAxis;
  convert.narrow = !options.weights.empty();
  manager.addPass(createConvertONNXToLinalgPass(convert));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildFuse(OpPassManager &manager, const CodegenOptions &) {
  manager.addPass(createLinalgElementwiseOpFusionPass());
  manager.addPass(createLowerDivisionsPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildStage(OpPassManager &manager, const CodegenOptions &options) {
  if (!isDevice(options.kind))
    manager.addPass(createRepackWeightsPass());
  if (!options.weights.empty()) {
    NarrowWeightsPassOptions narrow;
    narrow.number = options.weights;
    narrow.group = options.weightGroup;
    manager.addPass(createNarrowWeightsPass(narrow));
  }
  manager.addPass(createStagePass());
}

static void buildBufferise(OpPassManager &manager, const CodegenOptions &) {
  bufferization::OneShotBufferizePassOptions options;
  options.bufferizeFunctionBoundaries = true;
  options.allowReturnAllocsFromLoops = true;
  options.bufferAlignment = 0; // the host aligns all memory
  options.functionBoundaryTypeConversion = bufferization::LayoutMapOption::IdentityLayoutMap;
  manager.addPass(bufferization::createEmptyTensorEliminationPass());
  manager.addPass(bufferization::createOneShotBufferizePass(options));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildPlanMemory(OpPassManager &manager, const CodegenOptions &) {
  manager.addPass(createPlanMemoryPass());
  manager.addPass(createFreeBuffersPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildFree(OpPassManager &manager, const CodegenOptions &) {
  manager.addPass(createFreeBuffersPass());
}

static void buildVectorise(OpPassManager &manager, const CodegenOptions &options) {
  LowerProductsPassOptions products;
  products.lanes = options.lanes;
  products.rows = options.rows;
  products.vectors = options.vectors;
  products.integerActivations = options.integerActivations;
  products.vnni = options.vnni;
  products.bf16 = options.bf16;
  products.bf16Activations = options.bf16Activations;
  manager.addPass(createLowerGenericsPass());
  manager.addPass(createLowerProductsPass(products));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildOutline(OpPassManager &manager, const CodegenOptions &) {
  manager.addPass(createOutlineParallelPass());
  manager.addPass(createCanonicalizerPass());
}

static void buildLLVM(OpPassManager &manager, const CodegenOptions &) {
  manager.addPass(createExpandMathPass());
  manager.addPass(memref::createExpandOpsPass());
  manager.addPass(createSCFToControlFlowPass());
  manager.addPass(createLowerCallsPass());
  manager.addPass(memref::createExpandStridedMetadataPass());
  manager.addPass(createLowerAffinePass());
  manager.addPass(arith::createArithExpandOpsPass());
  manager.addPass(createConvertVectorToLLVMPass());
  manager.addPass(createConvertMathToLLVMPass());
  manager.addPass(createFinalizeMemRefToLLVMConversionPass());
  manager.addPass(createArithToLLVMConversionPass());
  manager.addPass(createConvertIndexToLLVMPass());
  manager.addPass(createConvertControlFlowToLLVMPass());
  manager.addPass(createConvertFuncToLLVMPass());
  manager.addPass(createUBToLLVMConversionPass());
  manager.addPass(createReconcileUnrealizedCastsPass());
  manager.addPass(createBindHostPass());
  manager.addPass(createCanonicalizerPass());
}

//===----------------------------------------------------------------------===//
// Devices
//===----------------------------------------------------------------------===//

static void buildKernels(OpPassManager &manager, const CodegenOptions &options) {
  const DeviceStrategy &device = options.device;
  ConvertToLaunchesPassOptions launches;
  launches.threads = device.threads;
  launches.reductionThreads = device.reductionThreads;
  launches.tileRows = device.tileRows;
  launches.tileColumns = device.tileColumns;
  launches.tileDepth = device.tileDepth;
  launches.threadRows = device.threadRows;
  launches.threadColumns = device.threadColumns;
  launches.maxGroups = device.maxGroups;
  manager.addPass(createPlaceOnDevicePass());
  manager.addPass(createConvertToLaunchesPass(launches));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
  manager.addPass(createGpuKernelOutliningPass());
  manager.addPass(createCollectKernelsPass());
  manager.addPass(createCanonicalizerPass());
}

// Kernels in the LLVM dialect; `convert` lowers what is the device's own.
static void buildDeviceLLVM(OpPassManager &manager, unsigned indexBits,
                            llvm::function_ref<void(OpPassManager &)> convert) {
  OpPassManager &kernels = manager.nest<gpu::GPUModuleOp>();
  LowerDeviceMemoryPassOptions memory;
  memory.indexBits = indexBits;
  kernels.addPass(createLowerDeviceMemoryPass(memory));
  convert(kernels);
  kernels.addPass(createReconcileUnrealizedCastsPass());
  kernels.addPass(createCanonicalizerPass());
}

static void buildVulkan(OpPassManager &manager) {
  manager.addPass(createPrepareSPIRVPass());
  manager.nest<gpu::GPUModuleOp>().addNestedPass<gpu::GPUFuncOp>(createConvertMathToSPIRVPass());
  manager.addPass(createConvertGPUToSPIRVPass(/*mapMemorySpace=*/false));
  manager.addPass(createEraseSourcesPass());
  manager.addPass(createCanonicalizerPass());
  OpPassManager &module = manager.nest<spirv::ModuleOp>();
  module.addPass(spirv::createSPIRVLowerABIAttributesPass());
  module.addPass(spirv::createSPIRVUpdateVCEPass());
}

static void buildDevice(OpPassManager &manager, const CodegenOptions &options) {
  manager.addPass(createLowerDeviceCallsPass());
  manager.addPass(createExpandMathPass());
  manager.nest<gpu::GPUModuleOp>().addPass(arith::createArithExpandOpsPass());
  switch (options.kind) {
  case TargetKind::CPU:
    break;
  case TargetKind::NVIDIA:
    buildDeviceLLVM(manager, 32, [](OpPassManager &kernels) {
      ConvertGpuOpsToNVVMOpsOptions convert;
      kernels.addPass(createSCFToControlFlowPass());
      convert.indexBitwidth = 32;
      kernels.addPass(createConvertGpuOpsToNVVMOps(convert));
    });
    break;
  case TargetKind::AMD:
    buildDeviceLLVM(manager, 32, [&](OpPassManager &kernels) {
      ConvertGpuOpsToROCDLOpsOptions convert;
      kernels.addPass(createSCFToControlFlowPass());
      convert.chipset = options.chip;
      convert.indexBitwidth = 32;
      kernels.addPass(createConvertGpuOpsToROCDLOps(convert));
    });
    break;
  case TargetKind::OpenCL:
    buildDeviceLLVM(manager, 64, [](OpPassManager &kernels) {
      ConvertGpuOpsToLLVMSPVOpsOptions convert;
      convert.use64bitIndex = true;
      // Blocks come later: this conversion changes their types and not the branches.
      kernels.addPass(createConvertGpuOpsToLLVMSPVOps(convert));
      kernels.addPass(createSCFToControlFlowPass());
      kernels.addPass(createConvertToLLVMPass());
    });
    break;
  case TargetKind::Vulkan:
    buildVulkan(manager);
    break;
  }
}

static ArrayRef<Phase> devicePhases() {
  static const Phase phases[] = {
      {"linalg", "ONNX graphs lowered to functions over linalg and kernel ops", buildLinalg},
      {"fuse", "elementwise operations fused", buildFuse},
      {"stage", "what is known at build time evaluated", buildStage},
      {"bufferise", "tensors turned into buffers", buildBufferise},
      {"plan-memory", "buffers freed after their last use", buildFree},
      {"kernels", "regions of graphs as kernels, launched by the host", buildKernels},
      {"vectorise", "loops and register tiles of what the host runs", buildVectorise},
      {"outline", "parallel loops in functions of their own", buildOutline},
      {"device", "kernels in the device's dialect, launches as calls", buildDevice},
      {"llvm", "the host's functions in the LLVM dialect, with entry points", buildLLVM},
  };
  return phases;
}

ArrayRef<Phase> adapter::codegenPhases(TargetKind kind) {
  if (isDevice(kind))
    return devicePhases();
  static const Phase phases[] = {
      {"linalg", "ONNX graphs lowered to functions over linalg and kernel ops", buildLinalg},
      {"fuse", "elementwise operations fused", buildFuse},
      {"stage", "what is known at build time evaluated", buildStage},
      {"bufferise", "tensors turned into buffers", buildBufferise},
      {"plan-memory", "buffers in their places in one arena, results where the caller wants them",
       buildPlanMemory},
      {"vectorise", "loops and register tiles", buildVectorise},
      {"outline", "parallel loops in functions of their own", buildOutline},
      {"llvm", "the LLVM dialect, with entry points", buildLLVM},
  };
  return phases;
}
