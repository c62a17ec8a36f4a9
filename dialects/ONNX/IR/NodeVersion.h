// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The operator set of a single node.
#ifndef ADAPTER_DIALECTS_ONNX_IR_NODEVERSION_H
#define ADAPTER_DIALECTS_ONNX_IR_NODEVERSION_H

namespace adapter::onnxir {

/// On an onnx.node: the version of its operator set where that is not the one that the model imports. Passes on the
/// way to compiled code make such nodes, so that what they make is the same for models of all versions; a file of ONNX
/// cannot say it.
inline constexpr const char *versionAttribute = "onnx.version";

} // namespace adapter::onnxir

#endif // ADAPTER_DIALECTS_ONNX_IR_NODEVERSION_H
