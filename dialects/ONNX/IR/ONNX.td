// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TableGen entry point of the onnx dialect.
include "dialects/ONNX/IR/ONNXDialect.td"
include "dialects/ONNX/IR/ONNXTypes.td"
include "dialects/ONNX/IR/ONNXOps.td"
