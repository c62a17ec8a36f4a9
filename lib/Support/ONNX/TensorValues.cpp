// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors as MLIR types and attributes, and as TensorProtos to be written.
#include "lib/Support/ONNX/Tensors.h"
#include "lib/Support/ONNX/Types.h"
#include "mlir/IR/BuiltinAttributes.h"
#include <cstring>
#include <onnx/onnx_pb.h>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::DType;
using checkpoint::Tensor;

RankedTensorType onnxproto::tensorTypeOf(const Tensor &tensor, MLIRContext *context) {
  return RankedTensorType::get(tensor.shape, importElementType(static_cast<int32_t>(tensor.dtype), context));
}

ElementsAttr onnxproto::inlineValue(const Tensor &tensor, MLIRContext *context) {
  RankedTensorType type = tensorTypeOf(tensor, context);
  auto integer = dyn_cast<IntegerType>(type.getElementType());
  int64_t elements = type.getNumElements();
  if (!integer || elements > maxInlineElements || (elements && !tensor.data))
    return {};
  unsigned width = integer.getWidth();
  SmallVector<APInt> values;
  for (int64_t i = 0; i < elements; ++i) {
    uint64_t word = 0;
    if (width == 1) {
      word = static_cast<uint8_t>(tensor.data[i]) != 0;
    } else if (width < 8) {
      unsigned perByte = 8 / width;
      word = (static_cast<uint8_t>(tensor.data[i / perByte]) >> (i % perByte * width)) & ((1u << width) - 1);
    } else {
      std::memcpy(&word, tensor.data + i * width / 8, width / 8);
    }
    values.push_back(APInt(width, word));
  }
  return DenseElementsAttr::get(type, values);
}

std::optional<Tensor> onnxproto::tensorOf(ElementsAttr value) {
  Tensor tensor;
  auto type = dyn_cast<ShapedType>(value.getShapedType());
  tensor.dtype = static_cast<DType>(exportElementType(type.getElementType()));
  tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  std::optional<size_t> bytes = packedBytes(tensor.dtype, tensor.shape);
  if (!bytes || !type.getElementType().isIntOrFloat())
    return std::nullopt;
  auto dense = dyn_cast<DenseElementsAttr>(value);
  if (!dense)
    return std::nullopt;
  std::shared_ptr<char[]> memory(new char[*bytes + 1]());
  char *out = memory.get();
  unsigned width = type.getElementTypeBitWidth();
  unsigned stride = width == 1 ? 8 : width; // bools take a byte each
  auto put = [&](int64_t i, const APInt &word) {
    // Bit by bit where elements share bytes, which only tiny types do.
    if (stride >= 8)
      std::memcpy(out + i * stride / 8, word.getRawData(), stride / 8);
    else
      for (unsigned bit = 0; bit < width; ++bit)
        if (word[bit])
          out[(i * width + bit) / 8] |= static_cast<char>(1 << ((i * width + bit) % 8));
  };
  int64_t i = 0;
  if (isa<FloatType>(type.getElementType())) {
    for (const APFloat &each : dense.getValues<APFloat>())
      put(i++, each.bitcastToAPInt());
  } else {
    for (const APInt &each : dense.getValues<APInt>())
      put(i++, each);
  }
  tensor.data = reinterpret_cast<const std::byte *>(out);
  tensor.bytes = *bytes;
  tensor.owner = std::shared_ptr<const void>(memory, out);
  return tensor;
}

void onnxproto::writeTensor(const Tensor &tensor, ::onnx::TensorProto &proto) {
  proto.set_data_type(static_cast<int32_t>(tensor.dtype));
  proto.clear_dims();
  for (int64_t dim : tensor.shape)
    proto.add_dims(dim);
  if (tensor.dtype != DType::String)
    proto.set_raw_data(tensor.data, tensor.bytes);
}

std::vector<int> onnxproto::tensorFields(const ::onnx::TensorProto &proto) {
  std::vector<int> fields = {
      ::onnx::TensorProto::kDimsFieldNumber,       ::onnx::TensorProto::kDataTypeFieldNumber,
      ::onnx::TensorProto::kRawDataFieldNumber,    ::onnx::TensorProto::kFloatDataFieldNumber,
      ::onnx::TensorProto::kInt32DataFieldNumber,  ::onnx::TensorProto::kInt64DataFieldNumber,
      ::onnx::TensorProto::kDoubleDataFieldNumber, ::onnx::TensorProto::kUint64DataFieldNumber};
  if (proto.data_location() == ::onnx::TensorProto::EXTERNAL)
    fields.insert(fields.end(), {::onnx::TensorProto::kExternalDataFieldNumber,
                                 ::onnx::TensorProto::kDataLocationFieldNumber});
  return fields;
}
