// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions between this project's dialects and upstream ones.
#ifndef ADAPTER_LIB_CONVERSION_PASSES_TD
#define ADAPTER_LIB_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

def ConvertONNXToLinalgPass : Pass<"convert-onnx-to-linalg", "mlir::ModuleOp"> {
  let summary = "Lower ONNX graphs to functions over linalg and kernel ops";
  let description = [{
    Every `onnx.graph` becomes a `func.func` on tensors. Nodes are lowered by the table of lowerings, found by
    domain, operator and version; one that is missing is an error that names the node. Sizes are tracked as
    values: dims of one name are one value, shape computations become scalar arithmetic. Products with
    weights become `kernel.linear` over `kernel.pack`.
  }];
  let dependentDialects = ["::adapter::kernel::KernelDialect", "mlir::arith::ArithDialect",
                           "mlir::cf::ControlFlowDialect", "mlir::func::FuncDialect",
                           "mlir::linalg::LinalgDialect", "mlir::math::MathDialect", "mlir::scf::SCFDialect",
                           "mlir::tensor::TensorDialect"];
  let options = [Option<"columnBlock", "column-block", "int64_t", /*default=*/"32",
                        "Columns of a block of a packed weight: two vector registers of f32">];
}

#endif // ADAPTER_LIB_CONVERSION_PASSES_TD
