// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ParameterStore and the correspondence of element types.
#include "lib/Support/ParameterStore.h"
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::DType;

ParameterStore &ParameterStore::get(MLIRContext *context) {
  auto *dialect = context->getOrLoadDialect<AdapterDialect>();
  if (!dialect->getParameterProvider())
    dialect->setParameterProvider(std::make_shared<ParameterStore>());
  return *static_cast<ParameterStore *>(dialect->getParameterProvider());
}

void ParameterStore::set(StringRef scope, StringRef key, checkpoint::Tensor tensor) {
  scopes[scope][key] = std::move(tensor);
}

std::string ParameterStore::add(StringRef scope, StringRef key, checkpoint::Tensor tensor) {
  std::string wanted = key.str(), name = wanted;
  for (int i = 1;; ++i) {
    const checkpoint::Tensor *known = lookup(scope, name);
    bool isSame = known && known->dtype == tensor.dtype && known->shape == tensor.shape &&
                  known->bytes == tensor.bytes &&
                  (known->data == tensor.data || std::memcmp(known->data, tensor.data, tensor.bytes) == 0);
    if (!known)
      set(scope, name, std::move(tensor));
    if (!known || isSame)
      return name;
    name = wanted + "_" + std::to_string(i);
  }
}

std::string ParameterStore::addNew(StringRef scope, StringRef key, checkpoint::Tensor tensor) {
  std::string name = key.str();
  for (int i = 1; lookup(scope, name); ++i)
    name = (key + "_" + llvm::Twine(i)).str();
  tensor.key = name;
  set(scope, name, std::move(tensor));
  return name;
}

const checkpoint::Tensor *ParameterStore::lookup(StringRef scope, StringRef key) const {
  auto archive = scopes.find(scope);
  if (archive == scopes.end())
    return nullptr;
  auto tensor = archive->second.find(key);
  return tensor == archive->second.end() ? nullptr : &tensor->second;
}

std::optional<ArrayRef<char>> ParameterStore::lookupBytes(StringRef scope, StringRef key) {
  const checkpoint::Tensor *tensor = lookup(scope, key);
  if (!tensor)
    return std::nullopt;
  return ArrayRef(reinterpret_cast<const char *>(tensor->data), tensor->bytes);
}

StringRef ParameterStore::getFile(StringRef scope) const {
  auto file = files.find(scope);
  return file == files.end() ? StringRef() : StringRef(file->second);
}

Type adapter::elementTypeOf(DType dtype, MLIRContext *context) {
  Builder builder(context);
  auto integer = [&](unsigned width, IntegerType::SignednessSemantics sign) -> Type {
    return IntegerType::get(context, width, sign);
  };
  switch (dtype) {
  case DType::F32:
    return builder.getF32Type();
  case DType::F64:
    return builder.getF64Type();
  case DType::F16:
    return builder.getF16Type();
  case DType::BF16:
    return builder.getBF16Type();
  case DType::I8:
    return builder.getI8Type();
  case DType::I16:
    return builder.getI16Type();
  case DType::I32:
    return builder.getI32Type();
  case DType::I64:
    return builder.getI64Type();
  case DType::Bool:
    return builder.getI1Type();
  case DType::I4:
    return builder.getIntegerType(4);
  case DType::I2:
    return builder.getIntegerType(2);
  case DType::U8:
    return integer(8, IntegerType::Unsigned);
  case DType::U16:
    return integer(16, IntegerType::Unsigned);
  case DType::U32:
    return integer(32, IntegerType::Unsigned);
  case DType::U64:
    return integer(64, IntegerType::Unsigned);
  case DType::U4:
    return integer(4, IntegerType::Unsigned);
  case DType::U2:
    return integer(2, IntegerType::Unsigned);
  case DType::C64:
    return ComplexType::get(builder.getF32Type());
  case DType::C128:
    return ComplexType::get(builder.getF64Type());
  case DType::F8E4M3FN:
    return Float8E4M3FNType::get(context);
  case DType::F8E4M3FNUZ:
    return Float8E4M3FNUZType::get(context);
  case DType::F8E5M2:
    return Float8E5M2Type::get(context);
  case DType::F8E5M2FNUZ:
    return Float8E5M2FNUZType::get(context);
  case DType::F4E2M1:
    return Float4E2M1FNType::get(context);
  case DType::F8E8M0:
    return Float8E8M0FNUType::get(context);
  case DType::F6E2M3:
    return Float6E2M3FNType::get(context);
  case DType::F6E3M2:
    return Float6E3M2FNType::get(context);
  case DType::String:
    context->getOrLoadDialect<onnxir::ONNXDialect>();
    return onnxir::StringType::get(context);
  case DType::Undefined:
    return {};
  }
  return {};
}

DType adapter::dtypeOf(Type type) {
  // Few types and no hot path: the inverse is found by trying.
  for (int code = 1; code <= static_cast<int>(DType::F6E3M2); ++code)
    if (elementTypeOf(static_cast<DType>(code), type.getContext()) == type)
      return static_cast<DType>(code);
  return DType::Undefined;
}
