// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The record of adapters in an ONNX file: metadata of the model, as JSON.
#ifndef ADAPTER_LIB_SUPPORT_ONNX_ATTACHMENTS_H
#define ADAPTER_LIB_SUPPORT_ONNX_ATTACHMENTS_H

#include "dialects/ONNX/IR/ONNXOps.h"
#include <string>

namespace adapter::onnxproto {

/// The key of the model's metadata.
inline constexpr const char *attachmentsKey = "adapter_opt.attachments";

/// The model's adapter.attachment ops as a list of objects; "" where it has none. Every object has adapter, time, hash,
/// scale and parameters, and base and base_digest where they are known; every parameter has module, parameter, form,
/// node and evidence, and derivation and retained_error where they say something.
std::string attachmentsText(onnxir::ModelOp model);

/// Makes the ops at the end of the model; false, and none, where the text is not such a list.
bool readAttachments(llvm::StringRef text, onnxir::ModelOp model);

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_SUPPORT_ONNX_ATTACHMENTS_H
