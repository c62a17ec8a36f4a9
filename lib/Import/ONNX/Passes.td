// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes over onnx models that need ONNX's own library.
#ifndef ADAPTER_LIB_IMPORT_ONNX_PASSES_TD
#define ADAPTER_LIB_IMPORT_ONNX_PASSES_TD

include "mlir/Pass/PassBase.td"

def ONNXInferShapesPass : Pass<"onnx-infer-shapes", "::mlir::ModuleOp"> {
  let summary = "Infer the types of all models' values";
  let description = [{
    Runs ONNX's shape inference, with propagation of shape values, and combines what it finds with the types
    that are there: of two dimensions the static one holds, of two names the one that was there. A value of
    which inference knows nothing keeps its type. Exported models carry the types as value_info.

    ```mlir
    // before
    func.func @example(%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
      %y = onnx.node "Relu"(%x) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> !onnx.unknown
      return
    }
    // after
    func.func @example(%x: tensor<?x4xf32, #onnx.dims<"n", "">>) {
      %y = onnx.node "Relu"(%x) {result_names = ["y"]} : (tensor<?x4xf32, #onnx.dims<"n", "">>) -> tensor<?x4xf32, #onnx.dims<"n", "">>
      return
    }
    ```
  }];
  let statistics = [Statistic<"numTyped", "num-typed", "Values whose type became more precise">];
}

#endif // ADAPTER_LIB_IMPORT_ONNX_PASSES_TD
