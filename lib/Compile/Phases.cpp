// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The phases from ONNX to LLVM for CPUs.
#include "adapter/Pipelines.h"
#include "lib/Codegen/Passes.h"
#include "lib/Compile/Passes.h"
#include "lib/Conversion/Passes.h"
#include "mlir/Conversion/Passes.h"
#include "mlir/Dialect/Arith/Transforms/Passes.h"
#include "mlir/Dialect/Bufferization/Transforms/OneShotAnalysis.h"
#include "mlir/Dialect/Bufferization/Transforms/Passes.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/Passes.h"
#include "mlir/Dialect/MemRef/Transforms/Passes.h"
#include "mlir/Dialect/Vector/Transforms/Passes.h"
#include "mlir/Transforms/Passes.h"

using namespace mlir;
using namespace adapter;

static void buildLinalg(OpPassManager &manager, const CodegenOptions &options) {
  ConvertONNXToLinalgPassOptions convert;
  convert.columnBlock = options.columnBlock();
  convert.rowInput = options.rowInput;
  convert.rowAxis = options.rowAxis;
  manager.addPass(createConvertONNXToLinalgPass(convert));
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildFuse(OpPassManager &manager, const CodegenOptions &) {
  manager.addPass(createLinalgElementwiseOpFusionPass());
  manager.addPass(createCanonicalizerPass());
  manager.addPass(createCSEPass());
}

static void buildStage(OpPassManager &manager, const CodegenOptions &) { manager.addPass(createStagePass()); }

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
  manager.addPass(createFreeBuffersPass());
}

static void buildVectorise(OpPassManager &manager, const CodegenOptions &options) {
  LowerProductsPassOptions products;
  products.lanes = options.lanes;
  products.rows = options.rows;
  products.vectors = options.vectors;
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

ArrayRef<Phase> adapter::codegenPhases() {
  static const Phase phases[] = {
      {"linalg", "ONNX graphs lowered to functions over linalg and kernel ops", buildLinalg},
      {"fuse", "elementwise operations fused", buildFuse},
      {"stage", "what is known at build time evaluated", buildStage},
      {"bufferise", "tensors turned into buffers", buildBufferise},
      {"plan-memory", "buffers freed after their last use", buildPlanMemory},
      {"vectorise", "loops and register tiles", buildVectorise},
      {"outline", "parallel loops in functions of their own", buildOutline},
      {"llvm", "the LLVM dialect, with entry points", buildLLVM},
  };
  return phases;
}
