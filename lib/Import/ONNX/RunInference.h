// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The calls into ONNX's library that may throw, behind functions that do not.
#ifndef ADAPTER_LIB_IMPORT_ONNX_RUNINFERENCE_H
#define ADAPTER_LIB_IMPORT_ONNX_RUNINFERENCE_H

#include <cstdint>
#include <string>

namespace onnx {
class ModelProto;
} // namespace onnx

namespace adapter::onnxproto {

/// ONNX's shape inference with data propagation, in place. Returns what went wrong, "" if nothing; the model
/// then may have some of its types.
std::string runShapeInference(onnx::ModelProto &model);

/// Tells ONNX's library of operators that are not ONNX's own. May throw.
void addRuntimeSchemas();

/// What a node lacks that its operator needs, as a message that names both; "" where nothing is left out. Operators that
/// ONNX's library does not know are not looked at.
std::string findMissingInput(const onnx::ModelProto &model);

/// The newest version of the default operator set that ONNX's library knows.
int64_t newestOpset();

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_IMPORT_ONNX_RUNINFERENCE_H
