// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// TypeProto to MLIR type and back. Names of dimensions become the tensor type's encoding.
#include "lib/Support/ONNX/Types.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Support/ParameterStore.h"
#include <onnx/onnx_pb.h>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;

Type onnxproto::importElementType(int32_t code, MLIRContext *context) {
  Type type = elementTypeOf(static_cast<DType>(code), context);
  return type ? type : onnxir::UnknownType::get(context);
}

int32_t onnxproto::exportElementType(Type elementType) { return static_cast<int32_t>(dtypeOf(elementType)); }

// A tensor type of an element type and a shape, which may be missing.
static Result<Type> importTensorType(int32_t code, const ::onnx::TensorShapeProto *shape,
                                     MLIRContext *context) {
  Type elementType = importElementType(code, context);
  if (!shape)
    return Type(UnrankedTensorType::get(elementType));
  SmallVector<int64_t> dims;
  SmallVector<StringAttr> names;
  bool named = false;
  int64_t elements = 1;
  for (const auto &dim : shape->dim()) {
    names.push_back(StringAttr::get(context, dim.has_dim_value() ? "" : dim.dim_param()));
    named |= !names.back().empty();
    if (!dim.has_dim_value()) {
      dims.push_back(ShapedType::kDynamic);
      continue;
    }
    int64_t value = dim.dim_value();
    if (value < 0)
      return Error{"dimension " + std::to_string(dims.size()) + " of its type is negative (" +
                   std::to_string(value) + "); a dynamic one has a dim_param or nothing"};
    if (value && __builtin_mul_overflow(elements, value, &elements))
      return Error{"the dimensions of its type have a product beyond 64 bits"};
    dims.push_back(value);
  }
  Attribute encoding;
  if (named)
    encoding = onnxir::DimsAttr::get(context, names);
  return Type(RankedTensorType::get(dims, elementType, encoding));
}

Result<Type> onnxproto::importType(const ::onnx::TypeProto &proto, MLIRContext *context) {
  switch (proto.value_case()) {
  case ::onnx::TypeProto::kTensorType: {
    const auto &tensor = proto.tensor_type();
    return importTensorType(tensor.elem_type(), tensor.has_shape() ? &tensor.shape() : nullptr, context);
  }
  case ::onnx::TypeProto::kSparseTensorType: {
    const auto &tensor = proto.sparse_tensor_type();
    Result<Type> dense =
        importTensorType(tensor.elem_type(), tensor.has_shape() ? &tensor.shape() : nullptr, context);
    if (!dense)
      return dense;
    return Type(onnxir::SparseTensorType::get(context, *dense));
  }
  case ::onnx::TypeProto::kSequenceType: {
    Result<Type> element = importType(proto.sequence_type().elem_type(), context);
    if (!element)
      return element;
    return Type(onnxir::SequenceType::get(context, *element));
  }
  case ::onnx::TypeProto::kOptionalType: {
    Result<Type> element = importType(proto.optional_type().elem_type(), context);
    if (!element)
      return element;
    return Type(onnxir::OptionalType::get(context, *element));
  }
  case ::onnx::TypeProto::kMapType: {
    Result<Type> value = importType(proto.map_type().value_type(), context);
    if (!value)
      return value;
    return Type(
        onnxir::MapType::get(context, importElementType(proto.map_type().key_type(), context), *value));
  }
  default:
    return Type(onnxir::UnknownType::get(context));
  }
}

template <typename TensorProtoType>
static void exportTensorType(Type type, TensorProtoType &proto) {
  auto tensor = cast<TensorType>(type);
  proto.set_elem_type(exportElementType(tensor.getElementType()));
  auto ranked = dyn_cast<RankedTensorType>(type);
  if (!ranked)
    return;
  auto names = dyn_cast_or_null<onnxir::DimsAttr>(ranked.getEncoding());
  proto.mutable_shape();
  for (auto [i, dim] : llvm::enumerate(ranked.getShape())) {
    auto *out = proto.mutable_shape()->add_dim();
    if (!ShapedType::isDynamic(dim))
      out->set_dim_value(dim);
    else if (names && i < names.getNames().size() && !names.getNames()[i].empty())
      out->set_dim_param(names.getNames()[i].str());
  }
}

void onnxproto::exportType(Type type, ::onnx::TypeProto &proto) {
  if (isa<TensorType>(type)) {
    exportTensorType(type, *proto.mutable_tensor_type());
  } else if (auto sparse = dyn_cast<onnxir::SparseTensorType>(type)) {
    if (isa<TensorType>(sparse.getDenseType()))
      exportTensorType(sparse.getDenseType(), *proto.mutable_sparse_tensor_type());
  } else if (auto sequence = dyn_cast<onnxir::SequenceType>(type)) {
    exportType(sequence.getElementType(), *proto.mutable_sequence_type()->mutable_elem_type());
  } else if (auto optional = dyn_cast<onnxir::OptionalType>(type)) {
    exportType(optional.getElementType(), *proto.mutable_optional_type()->mutable_elem_type());
  } else if (auto map = dyn_cast<onnxir::MapType>(type)) {
    proto.mutable_map_type()->set_key_type(exportElementType(map.getKeyType()));
    exportType(map.getValueType(), *proto.mutable_map_type()->mutable_value_type());
  }
}

static Type combineTensors(TensorType first, TensorType second) {
  Type element =
      isa<onnxir::UnknownType>(first.getElementType()) ? second.getElementType() : first.getElementType();
  auto a = dyn_cast<RankedTensorType>(first), b = dyn_cast<RankedTensorType>(second);
  if (!a && !b)
    return UnrankedTensorType::get(element);
  if (!a || !b || a.getRank() != b.getRank()) {
    RankedTensorType known = a ? a : b;
    return RankedTensorType::get(known.getShape(), element, known.getEncoding());
  }
  MLIRContext *context = first.getContext();
  auto name = [&](RankedTensorType type, int64_t i) {
    auto names = dyn_cast_or_null<onnxir::DimsAttr>(type.getEncoding());
    return names && i < static_cast<int64_t>(names.getNames().size()) ? names.getNames()[i]
                                                                      : StringAttr::get(context, "");
  };
  SmallVector<int64_t> dims;
  SmallVector<StringAttr> names;
  bool named = false;
  for (int64_t i = 0; i < a.getRank(); ++i) {
    dims.push_back(a.isDynamicDim(i) ? b.getDimSize(i) : a.getDimSize(i));
    StringAttr chosen = name(a, i).empty() ? name(b, i) : name(a, i);
    names.push_back(ShapedType::isDynamic(dims.back()) ? chosen : StringAttr::get(context, ""));
    named |= !names.back().empty();
  }
  Attribute encoding = a.getEncoding();
  if (!encoding || isa<onnxir::DimsAttr>(encoding))
    encoding = named ? onnxir::DimsAttr::get(context, names) : nullptr;
  return RankedTensorType::get(dims, element, encoding);
}

Type onnxproto::combineTypes(Type first, Type second) {
  if (!first || isa<onnxir::UnknownType>(first))
    return second ? second : first;
  if (auto a = dyn_cast<TensorType>(first))
    if (auto b = dyn_cast_or_null<TensorType>(second))
      return combineTensors(a, b);
  MLIRContext *context = first.getContext();
  if (auto a = dyn_cast<onnxir::SequenceType>(first))
    if (auto b = dyn_cast_or_null<onnxir::SequenceType>(second))
      return onnxir::SequenceType::get(context, combineTypes(a.getElementType(), b.getElementType()));
  if (auto a = dyn_cast<onnxir::OptionalType>(first))
    if (auto b = dyn_cast_or_null<onnxir::OptionalType>(second))
      return onnxir::OptionalType::get(context, combineTypes(a.getElementType(), b.getElementType()));
  return first;
}
