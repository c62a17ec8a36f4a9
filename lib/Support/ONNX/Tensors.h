// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Contents of TensorProtos: read as little-endian raw bytes wherever and however the file stores them,
// checked against type and shape, and written back.
#ifndef ADAPTER_LIB_SUPPORT_ONNX_TENSORS_H
#define ADAPTER_LIB_SUPPORT_ONNX_TENSORS_H

#include "lib/Checkpoint/Result.h"
#include "lib/Checkpoint/Tensor.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/IR/BuiltinAttributeInterfaces.h"
#include "mlir/IR/BuiltinTypes.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

namespace onnx {
class TensorProto;
} // namespace onnx

namespace adapter::onnxproto {

/// Most elements that a tensor may have to stand in the IR.
constexpr int64_t maxInlineElements = 64;

/// Reads the tensors of one model into a scope of the store.
class TensorReader {
public:
  /// `owner` keeps the model alive, into whose raw_data tensors point; `folder` holds its external data,
  /// "" where there is none. Where the model's file is a link, `linkedFolder` is the folder of the file itself.
  TensorReader(ParameterStore &store, std::string scope, std::string folder, std::string linkedFolder,
               std::shared_ptr<const void> owner)
      : store(store), scope(std::move(scope)), folder(std::move(folder)),
        linkedFolder(std::move(linkedFolder)), owner(std::move(owner)) {}

  /// Type, shape and contents; no contents for strings. A message says what of the tensor is wrong.
  checkpoint::Result<checkpoint::Tensor> read(const ::onnx::TensorProto &proto);

  /// `wanted`, or a name made from it that is no key of the scope yet.
  std::string claimKey(llvm::StringRef wanted);

  ParameterStore &store;
  const std::string scope;
  /// Whether any tensor's contents lay in a file of their own.
  bool sawExternal = false;

private:
  checkpoint::Status readExternal(const ::onnx::TensorProto &proto, size_t bytes, checkpoint::Tensor &tensor);
  checkpoint::Status readTyped(const ::onnx::TensorProto &proto, size_t bytes, checkpoint::Tensor &tensor);

  struct File {
    const std::byte *data;
    size_t size;
    std::shared_ptr<const void> owner;
  };
  std::string folder, linkedFolder;
  std::shared_ptr<const void> owner;
  llvm::StringMap<File> files;
  llvm::StringSet<> keys;
  llvm::StringMap<unsigned> suffixes; // the last number behind each name
};

/// Bytes of a tensor, sub-byte types packed; nothing where a dimension is negative, the product does not
/// fit or the type has no fixed size.
std::optional<size_t> packedBytes(checkpoint::DType dtype, llvm::ArrayRef<int64_t> shape);

/// Sets type, shape and raw_data.
void writeTensor(const checkpoint::Tensor &tensor, ::onnx::TensorProto &proto);

/// Fields of a TensorProto that writeTensor sets or that say where contents lie; the name is no part of it.
std::vector<int> tensorFields(const ::onnx::TensorProto &proto);

/// The type of a tensor.
mlir::RankedTensorType tensorTypeOf(const checkpoint::Tensor &tensor, mlir::MLIRContext *context);
/// Integer and bool tensors of at most 64 elements as an attribute; else null.
mlir::ElementsAttr inlineValue(const checkpoint::Tensor &tensor, mlir::MLIRContext *context);
/// The inverse, for integers and floats; nothing for other attributes.
std::optional<checkpoint::Tensor> tensorOf(mlir::ElementsAttr value);

} // namespace adapter::onnxproto

#endif // ADAPTER_LIB_SUPPORT_ONNX_TENSORS_H
