// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The onnx dialect: any ONNX model, mechanically.
#ifndef ADAPTER_DIALECTS_ONNX_IR_ONNXDIALECT_TD
#define ADAPTER_DIALECTS_ONNX_IR_ONNXDIALECT_TD

include "mlir/IR/DialectBase.td"

def ONNX_Dialect : Dialect {
  let name = "onnx";
  let summary = "ONNX models as they are, operator by operator";
  let description = [{
    Carries any ONNX model through the compiler and out again without loss. There is one op for all
    operators, `onnx.node`, which names operator, domain and attributes as data; lowerings are found in a
    table keyed by (domain, operator, version). Names, dim_params and metadata are attributes, so that they
    survive printing.
  }];
  let cppNamespace = "::adapter::onnxir";
  let useDefaultAttributePrinterParser = 1;
  let useDefaultTypePrinterParser = 1;
  let hasOperationAttrVerify = 1;
}

#endif // ADAPTER_DIALECTS_ONNX_IR_ONNXDIALECT_TD
