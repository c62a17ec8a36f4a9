// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The one call into ONNX's library that may throw, behind a function that does not.
#ifndef ADAPTER_LIB_IMPORT_ONNX_RUNINFERENCE_H
#define ADAPTER_LIB_IMPORT_ONNX_RUNINFERENCE_H

#include <string>

namespace onnx {
class ModelProto;
} // namespace onnx

namespace adapter::onnxproto {

/// ONNX's shape inference with data propagation, in place. Returns what went wrong, "" if nothing; the model
/// then may have some of its types.
std::string runShapeInference(onnx::ModelProto &model);

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_IMPORT_ONNX_RUNINFERENCE_H
