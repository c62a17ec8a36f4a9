// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Passes over onnx models that need ONNX's own library.
#ifndef ADAPTER_LIB_IMPORT_ONNX_PASSES_H
#define ADAPTER_LIB_IMPORT_ONNX_PASSES_H

#include "dialects/ONNX/IR/ONNXOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "mlir/Pass/Pass.h"

namespace adapter {

/// What the pass onnx-infer-shapes does; returns how many values' types changed.
mlir::FailureOr<unsigned> inferShapes(onnxir::ModelOp model);

#define GEN_PASS_DECL
#include "lib/Import/ONNX/Passes.h.inc"

#define GEN_PASS_REGISTRATION
#include "lib/Import/ONNX/Passes.h.inc"

} // namespace adapter

#endif // ADAPTER_LIB_IMPORT_ONNX_PASSES_H
