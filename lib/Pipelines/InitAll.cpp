// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Registration of dialects and passes.
#include "adapter/InitAll.h"
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Import/ONNX/Passes.h"
#include "mlir/Transforms/Passes.h"

void adapter::registerAllDialects(mlir::DialectRegistry &registry) {
  registry.insert<AdapterDialect, kernel::KernelDialect, onnxir::ONNXDialect, mlir::arith::ArithDialect,
                  mlir::func::FuncDialect, mlir::linalg::LinalgDialect, mlir::memref::MemRefDialect,
                  mlir::scf::SCFDialect, mlir::tensor::TensorDialect>();
}

void adapter::registerAllPasses() {
  registerImportONNXPasses();
  mlir::registerTransformsPasses();
}
