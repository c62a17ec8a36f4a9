// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What the IR does not model of a protobuf message is kept beside it as text: the message without the
// fields that the IR covers. Export starts from that text and sets the covered fields again.
#ifndef ADAPTER_LIB_SUPPORT_ONNX_RESIDUE_H
#define ADAPTER_LIB_SUPPORT_ONNX_RESIDUE_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include "lib/Support/ONNX/Tensors.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include <string>

namespace google::protobuf {
class Message;
} // namespace google::protobuf

namespace adapter::onnxproto {

/// The message as text, "" where it is empty. Contents of tensors that must not stand in the IR move to the
/// store of `tensors`; the message is changed accordingly.
checkpoint::Result<std::string> toText(google::protobuf::Message &message, TensorReader &tensors);

/// As toText, of all fields but the covered ones (by number). The message itself stays as it is.
checkpoint::Result<std::string> residueOf(google::protobuf::Message &message, llvm::ArrayRef<int> covered,
                                          TensorReader &tensors);

/// Reads what toText wrote; false where the text is none of this message's.
bool fromText(llvm::StringRef text, google::protobuf::Message &message, const ParameterStore &store);

/// Keys of the store that a text refers to, each as scope and key.
std::vector<std::pair<std::string, std::string>> tensorsInText(llvm::StringRef text);

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_SUPPORT_ONNX_RESIDUE_H
