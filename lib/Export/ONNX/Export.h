// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writing ONNX models: the inverse of lib/Import/ONNX.
#ifndef ADAPTER_LIB_EXPORT_ONNX_EXPORT_H
#define ADAPTER_LIB_EXPORT_ONNX_EXPORT_H

#include "lib/Checkpoint/Result.h"
#include <string>

namespace adapter {

namespace onnxir {
class ModelOp;
} // namespace onnxir

/// Writes a file by rename. Tensors' contents come from the context's ParameterStore. A model beyond what one
/// file can hold, or whose source had external data, gets its big tensors in `path`.data beside it.
checkpoint::Status exportONNXFile(onnxir::ModelOp model, const std::string &path);

/// The serialised ModelProto, everything inside.
checkpoint::Result<std::string> exportONNXBytes(onnxir::ModelOp model);

} // namespace adapter

#endif // ADAPTER_LIB_EXPORT_ONNX_EXPORT_H
