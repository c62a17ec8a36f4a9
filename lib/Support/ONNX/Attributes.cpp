// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AttributeProto to MLIR attribute and back. Whether the MLIR form says everything is not argued but tried:
// it is exported again and compared.
#include "lib/Support/ONNX/Attributes.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Support/ONNX/Residue.h"
#include "mlir/IR/Builders.h"
#include <onnx/onnx_pb.h>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Tensor;

static Result<Attribute> importTensor(::onnx::TensorProto &proto, StringRef key, TensorReader &tensors,
                                      MLIRContext *context) {
  Result<Tensor> tensor = tensors.read(proto);
  if (!tensor)
    return tensor.error();
  Result<std::string> extra = residueOf(proto, tensorFields(proto), tensors);
  if (!extra)
    return extra.error();
  ElementsAttr value = inlineValue(*tensor, context);
  if (value && extra->empty())
    return Attribute(value);
  std::string unique = tensors.claimKey(key);
  Type type = tensorTypeOf(*tensor, context);
  if (tensor->data)
    tensors.store.set(tensors.scope, unique, std::move(*tensor));
  return Attribute(onnxir::TensorAttr::get(context, tensors.scope, unique, type, value,
                                           extra->empty() ? StringAttr() : StringAttr::get(context, *extra)));
}

static Attribute importPlain(const ::onnx::AttributeProto &proto, MLIRContext *context) {
  Builder builder(context);
  switch (proto.type()) {
  case ::onnx::AttributeProto::FLOAT:
    return builder.getF32FloatAttr(proto.f());
  case ::onnx::AttributeProto::INT:
    return builder.getI64IntegerAttr(proto.i());
  case ::onnx::AttributeProto::STRING:
    return builder.getStringAttr(proto.s());
  case ::onnx::AttributeProto::FLOATS:
    if (proto.floats_size() > maxInlineElements)
      return {};
    return builder.getDenseF32ArrayAttr({proto.floats().data(), static_cast<size_t>(proto.floats_size())});
  case ::onnx::AttributeProto::INTS:
    return builder.getDenseI64ArrayAttr({proto.ints().data(), static_cast<size_t>(proto.ints_size())});
  case ::onnx::AttributeProto::STRINGS: {
    SmallVector<Attribute> strings;
    for (const std::string &each : proto.strings())
      strings.push_back(builder.getStringAttr(each));
    return builder.getArrayAttr(strings);
  }
  default:
    return {};
  }
}

Result<Attribute> onnxproto::importAttribute(::onnx::AttributeProto &proto, StringRef key,
                                             TensorReader &tensors, MLIRContext *context) {
  if (proto.type() == ::onnx::AttributeProto::TENSOR) {
    bool plain = proto.has_t() && !proto.has_doc_string() && !proto.has_ref_attr_name() && !proto.has_f() &&
                 !proto.has_i() && !proto.has_s() && !proto.has_g() && !proto.has_tp() &&
                 !proto.has_sparse_tensor() && !proto.floats_size() && !proto.ints_size() &&
                 !proto.strings_size() && !proto.tensors_size() && !proto.graphs_size() &&
                 !proto.sparse_tensors_size() && !proto.type_protos_size();
    if (!plain)
      return Attribute();
    return importTensor(*proto.mutable_t(), key, tensors, context);
  }
  Attribute attribute = importPlain(proto, context);
  ::onnx::AttributeProto again;
  if (!attribute || !exportAttribute(attribute, tensors.store, again))
    return Attribute();
  again.set_name(proto.name());
  return again.SerializeAsString() == proto.SerializeAsString() ? attribute : Attribute();
}

bool onnxproto::exportAttribute(Attribute attribute, const ParameterStore &store,
                                ::onnx::AttributeProto &proto) {
  if (auto value = dyn_cast<FloatAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::FLOAT);
    if (value.getType().isF32())
      proto.set_f(value.getValue().convertToFloat());
    else
      proto.set_f(static_cast<float>(value.getValueAsDouble()));
  } else if (auto value = dyn_cast<IntegerAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::INT);
    proto.set_i(value.getType().isInteger(1) ? value.getValue().getZExtValue()
                                             : value.getValue().getSExtValue());
  } else if (auto value = dyn_cast<StringAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::STRING);
    proto.set_s(value.getValue().str());
  } else if (auto value = dyn_cast<DenseF32ArrayAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::FLOATS);
    for (float each : value.asArrayRef())
      proto.add_floats(each);
  } else if (auto value = dyn_cast<DenseI64ArrayAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::INTS);
    for (int64_t each : value.asArrayRef())
      proto.add_ints(each);
  } else if (auto value = dyn_cast<ArrayAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::STRINGS);
    for (Attribute each : value) {
      if (!isa<StringAttr>(each))
        return false;
      proto.add_strings(cast<StringAttr>(each).str());
    }
  } else if (auto value = dyn_cast<onnxir::TensorAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::TENSOR);
    ::onnx::TensorProto &tensor = *proto.mutable_t();
    if (value.getExtra() && !fromText(value.getExtra().getValue(), tensor, store))
      return false;
    if (const Tensor *found = store.lookup(value.getScope(), value.getKey())) {
      writeTensor(*found, tensor);
    } else if (value.getValue()) {
      std::optional<Tensor> inlined = tensorOf(value.getValue());
      if (!inlined)
        return false;
      writeTensor(*inlined, tensor);
    } else {
      auto type = dyn_cast<RankedTensorType>(value.getType());
      if (!type || !isa<onnxir::StringType>(type.getElementType()))
        return false;
      Tensor strings;
      strings.dtype = checkpoint::DType::String;
      strings.shape.assign(type.getShape().begin(), type.getShape().end());
      writeTensor(strings, tensor);
    }
  } else if (auto value = dyn_cast<ElementsAttr>(attribute)) {
    proto.set_type(::onnx::AttributeProto::TENSOR);
    std::optional<Tensor> tensor = tensorOf(value);
    if (!tensor)
      return false;
    writeTensor(*tensor, *proto.mutable_t());
  } else {
    return false;
  }
  return true;
}
