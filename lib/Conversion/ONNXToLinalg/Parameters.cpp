// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GraphLowering: tensors known at build time, from initialisers and from constants of nodes.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Support/ParameterStore.h"
#include "lib/Support/Quantised.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;

// ONNX types carry names of dims and signs; below there are plain ones.
static Type signless(Type type) {
  if (auto integer = dyn_cast<IntegerType>(type); integer && integer.isUnsigned())
    return IntegerType::get(type.getContext(), integer.getWidth());
  return type;
}

FailureOr<RankedTensorType> adapter::plainType(Operation *op, Type type, StringRef name) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.getElementType().isIntOrFloat())
    return op->emitError() << "value '" << name << "' of type " << type
                           << " cannot be compiled: tensors of known rank and numeric type are needed";
  return RankedTensorType::get(tensor.getShape(), signless(tensor.getElementType()));
}

DenseElementsAttr GraphLowering::contents(StringRef scope, StringRef key, RankedTensorType type) {
  auto *provider = b.getContext()->getOrLoadDialect<AdapterDialect>()->getParameterProvider();
  unsigned bits = type.getElementType().getIntOrFloatBitWidth();
  if (!provider || bits < 8)
    return {};
  std::optional<ArrayRef<char>> bytes = provider->lookupBytes(scope, key);
  if (!bytes || static_cast<int64_t>(bytes->size() * 8) != type.getNumElements() * bits)
    return {};
  return DenseElementsAttr::getFromRawBuffer(type, *bytes);
}

FailureOr<Lowered> GraphLowering::parameter(Operation *op, StringRef scope, StringRef key, Type onnxType,
                                            Attribute value, StringRef site) {
  FailureOr<RankedTensorType> type = plainType(op, onnxType, key);
  if (failed(type))
    return failure();
  Type element = type->getElementType();
  Lowered lowered;
  lowered.elementType = element;
  lowered.isUnsigned = cast<RankedTensorType>(onnxType).getElementType().isUnsignedInteger();
  lowered.isParameter = true;
  for (int64_t size : type->getShape())
    lowered.shape.push_back(constant(size));

  // Small integer tensors and single floats are constants of the code.
  // What a switch may change is neither that nor evaluated.
  auto known = site.empty() ? dyn_cast_or_null<DenseElementsAttr>(value) : DenseElementsAttr();
  if (!known && site.empty() && type->getNumElements() == 1)
    known = contents(scope, key, *type);
  if (known && isa<FloatType>(element) && type->getNumElements() == 1) {
    lowered.elements.emplace();
    lowered.elements->push_back(
        arith::ConstantOp::create(b, b.getFloatAttr(element, *known.getValues<APFloat>().begin())));
    return lowered;
  }
  if (known && isa<IntegerType>(element) && type->getNumElements() <= 64) {
    lowered.elements.emplace();
    for (APInt number : known.getValues<APInt>())
      lowered.elements->push_back(
          element.isInteger(1)
              ? Value(arith::ConstantOp::create(b, b.getBoolAttr(number.getBoolValue())))
              : this->value(constant(lowered.isUnsigned ? number.getZExtValue() : number.getSExtValue())));
    return lowered;
  }
  lowered.tensor = kernel::ParameterOp::create(b, *type, parameters.size());
  FlatSymbolRefAttr owner;
  if (!site.empty())
    owner = FlatSymbolRefAttr::get(b.getContext(), site);
  parameters.push_back(
      ParameterRowAttr::get(b.getContext(), b.getStringAttr(scope), b.getStringAttr(key), owner));
  return lowered;
}

FailureOr<Lowered> GraphLowering::parameter(ParameterOp op, StringRef site) {
  auto parts = op->getAttrOfType<DictionaryAttr>(quantisedAttribute);
  if (!parts)
    return parameter(op, op.getScope(), op.getKey(), op.getType(), op.getValueAttr(), site);
  auto format = parts.getAs<kernel::FormatAttr>("format");
  auto block = parts.getAs<IntegerAttr>("block");
  auto has = [&](StringRef name) { return parts.getAs<onnxir::TensorAttr>(name) != nullptr; };
  if (!format || !block || !has("codes") || !has("scales"))
    return op->emitOpError("needs codes, scales, a block and a format in '") << quantisedAttribute << "'";
  static constexpr StringRef names[] = {"codes", "scales", "zeros"};
  Value read[3];
  for (auto [i, name] : llvm::enumerate(names)) {
    auto part = parts.getAs<onnxir::TensorAttr>(name);
    if (!part)
      continue;
    const checkpoint::Tensor *tensor =
        ParameterStore::get(b.getContext()).lookup(part.getScope(), part.getKey());
    if (!tensor)
      return op->emitOpError("has no ") << name << " '" << part.getKey() << "'";
    Type element = i ? Type(b.getF32Type()) : Type(b.getI8Type());
    // One of few elements is a tensor too.
    read[i] =
        kernel::ParameterOp::create(b, RankedTensorType::get(tensor->shape, element), parameters.size());
    FlatSymbolRefAttr owner =
        site.empty() ? FlatSymbolRefAttr() : FlatSymbolRefAttr::get(b.getContext(), site);
    parameters.push_back(ParameterRowAttr::get(b.getContext(), b.getStringAttr(part.getScope()),
                                               b.getStringAttr(part.getKey()), owner));
  }
  auto type = cast<RankedTensorType>(op.getType());
  Value init = tensor::EmptyOp::create(b, type.getShape(), type.getElementType());
  Value matrix = kernel::DequantizeOp::create(b, init.getType(), read[0], read[1], read[2], init,
                                              block.getInt(), format, parts.contains("transposed"))
                     .getResult(0);
  SmallVector<OpFoldResult> shape;
  for (int64_t size : type.getShape())
    shape.push_back(constant(size));
  Lowered lowered = wrap(matrix, shape);
  lowered.isParameter = true;
  return lowered;
}
