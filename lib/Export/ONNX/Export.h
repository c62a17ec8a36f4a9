// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Writing ONNX models: the inverse of lib/Import/ONNX.
#ifndef ADAPTER_LIB_EXPORT_ONNX_EXPORT_H
#define ADAPTER_LIB_EXPORT_ONNX_EXPORT_H

#include "lib/Checkpoint/Result.h"
#include <string>
#include <vector>

namespace adapter {

namespace onnxir {
class ModelOp;
} // namespace onnxir

/// Writes a file by rename. Tensors' contents come from the context's ParameterStore. A model beyond what one
/// file can hold, or whose source had external data, gets its big tensors in `path`.data beside it.
checkpoint::Status exportONNXFile(onnxir::ModelOp model, const std::string &path);

/// Writes <symbol>.onnx for each model to an existing folder. Big tensors that several of them hold are written
/// once, to shared.data.
checkpoint::Status exportONNXFolder(const std::vector<onnxir::ModelOp> &models, const std::string &folder);

/// The serialised ModelProto, everything inside.
checkpoint::Result<std::string> exportONNXBytes(onnxir::ModelOp model);

} // namespace adapter

#endif // ADAPTER_LIB_EXPORT_ONNX_EXPORT_H
