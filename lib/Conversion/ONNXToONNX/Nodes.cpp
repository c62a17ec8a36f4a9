// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Expansion.h. Types are worked out here, since inference of ONNX's library takes a model for one version.
#include "lib/Conversion/ONNXToONNX/Expansion.h"
#include "lib/Support/ONNX/Types.h"

using namespace mlir;
using namespace adapter;

//===----------------------------------------------------------------------===//
// Types
//===----------------------------------------------------------------------===//

namespace {
struct Dim {
  int64_t size = ShapedType::kDynamic;
  StringAttr name; // null or empty: none
  bool isOne() const { return size == 1; }
};
using Dims = std::optional<SmallVector<Dim>>; // nothing: not even the rank is known
} // namespace

static Dims dimsOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return std::nullopt;
  auto names = dyn_cast_or_null<onnxir::DimsAttr>(type.getEncoding());
  SmallVector<Dim> dims;
  for (auto [i, size] : llvm::enumerate(type.getShape()))
    dims.push_back({size, names ? names.getNames()[i] : StringAttr()});
  return dims;
}

static Type typeFrom(const Dims &dims, Type element) {
  if (!dims)
    return UnrankedTensorType::get(element);
  SmallVector<int64_t> sizes;
  SmallVector<StringAttr> names;
  bool isNamed = false;
  for (const Dim &dim : *dims) {
    sizes.push_back(dim.size);
    bool has = ShapedType::isDynamic(dim.size) && dim.name && !dim.name.getValue().empty();
    names.push_back(has ? dim.name : StringAttr::get(element.getContext()));
    isNamed |= has;
  }
  return RankedTensorType::get(
      sizes, element, isNamed ? Attribute(onnxir::DimsAttr::get(element.getContext(), names)) : Attribute());
}

static bool isSame(const Dim &x, const Dim &y) {
  if (!ShapedType::isDynamic(x.size) || !ShapedType::isDynamic(y.size))
    return x.size == y.size;
  return x.name && y.name && !x.name.getValue().empty() && x.name == y.name;
}

static Dim broadcast(const Dim &x, const Dim &y) {
  if (x.isOne() || y.isOne())
    return x.isOne() ? y : x;
  if (!ShapedType::isDynamic(x.size) || !ShapedType::isDynamic(y.size))
    return ShapedType::isDynamic(x.size) ? y : x;
  return isSame(x, y) ? x : Dim();
}

static Dims broadcast(const Dims &x, const Dims &y) {
  if (!x || !y)
    return std::nullopt;
  const SmallVector<Dim> &longer = x->size() >= y->size() ? *x : *y,
                         &shorter = x->size() >= y->size() ? *y : *x;
  SmallVector<Dim> dims(longer);
  size_t more = longer.size() - shorter.size();
  for (size_t i = 0; i < shorter.size(); ++i)
    dims[more + i] = broadcast(longer[more + i], shorter[i]);
  return dims;
}

std::optional<int64_t> Expansion::rankOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type ? std::optional(type.getRank()) : std::nullopt;
}

int64_t Expansion::sizeOf(Value value, int64_t dim) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  if (!type)
    return ShapedType::kDynamic;
  dim = dim < 0 ? dim + type.getRank() : dim;
  return dim >= 0 && dim < type.getRank() ? type.getDimSize(dim) : ShapedType::kDynamic;
}

bool Expansion::isSameSize(Value x, int64_t xDim, Value y, int64_t yDim) {
  Dims xs = dimsOf(x), ys = dimsOf(y);
  return xs && ys &&
         isSame((*xs)[xDim < 0 ? xDim + xs->size() : xDim], (*ys)[yDim < 0 ? yDim + ys->size() : yDim]);
}

//===----------------------------------------------------------------------===//
// Nodes
//===----------------------------------------------------------------------===//

Value Expansion::make(StringRef type, ValueRange inputs, Type result, ArrayRef<NamedAttribute> attributes) {
  return nodes.node(type, inputs, result, attributes);
}

NamedAttribute Expansion::attribute(StringRef name, int64_t value) {
  return {builder.getStringAttr(name), builder.getI64IntegerAttr(value)};
}

NamedAttribute Expansion::attribute(StringRef name, double value) {
  return {builder.getStringAttr(name), builder.getF32FloatAttr(static_cast<float>(value))};
}

NamedAttribute Expansion::attribute(StringRef name, StringRef value) {
  return {builder.getStringAttr(name), builder.getStringAttr(value)};
}

NamedAttribute Expansion::attribute(StringRef name, ArrayRef<int64_t> value) {
  return {builder.getStringAttr(name), builder.getDenseI64ArrayAttr(value)};
}

Value Expansion::binary(StringRef type, Value x, Value y) {
  return make(type, {x, y}, typeFrom(broadcast(dimsOf(x), dimsOf(y)), elementTypeOf(x)));
}

Value Expansion::compare(StringRef type, Value x, Value y) {
  return make(type, {x, y}, typeFrom(broadcast(dimsOf(x), dimsOf(y)), builder.getI1Type()));
}

Value Expansion::where(Value condition, Value x, Value y) {
  Dims dims = broadcast(dimsOf(condition), broadcast(dimsOf(x), dimsOf(y)));
  return make("Where", {condition, x, y}, typeFrom(dims, elementTypeOf(x)));
}

Value Expansion::unary(StringRef type, Value x, ArrayRef<NamedAttribute> attributes) {
  return make(type, x, x.getType(), attributes);
}

Value Expansion::matMul(Value x, Value y) {
  Dims xs = dimsOf(x), ys = dimsOf(y), dims;
  if (xs && ys && xs->size() >= 2 && ys->size() >= 2) {
    Dim rows = (*xs)[xs->size() - 2], columns = ys->back();
    xs->pop_back_n(2);
    ys->pop_back_n(2);
    dims = broadcast(xs, ys);
    dims->append({rows, columns});
  }
  return make("MatMul", {x, y}, typeFrom(dims, elementTypeOf(x)));
}

Value Expansion::transpose(Value x, ArrayRef<int64_t> order) {
  Dims from = dimsOf(x), dims;
  if (from) {
    dims.emplace();
    for (int64_t each : order)
      dims->push_back((*from)[each]);
  }
  return make("Transpose", x, typeFrom(dims, elementTypeOf(x)), attribute("perm", order));
}

Value Expansion::reshape(Value x, ArrayRef<int64_t> sizes) {
  Dims from = dimsOf(x);
  SmallVector<Dim> dims;
  int64_t inferred = -1, rest = 1;
  for (auto [i, size] : llvm::enumerate(sizes)) {
    Dim dim{size, {}};
    if (size == 0)
      dim = from ? (*from)[i] : Dim();
    if (size == -1) {
      inferred = i;
      dim = Dim();
    }
    dims.push_back(dim);
  }
  if (inferred >= 0 && from) {
    // What is copied cancels, known or not.
    for (auto [i, dim] : llvm::enumerate(*from))
      if (i >= sizes.size() || sizes[i] != 0)
        rest = ShapedType::isDynamic(rest) || ShapedType::isDynamic(dim.size) ? ShapedType::kDynamic
                                                                              : rest * dim.size;
    for (auto [i, size] : llvm::enumerate(sizes))
      if (size > 0 && !ShapedType::isDynamic(rest))
        rest = rest % size ? ShapedType::kDynamic : rest / size;
    dims[inferred].size = rest;
  }
  return make("Reshape", {x, wholes(sizes)}, typeFrom(dims, elementTypeOf(x)));
}

Value Expansion::splitHeads(Value x, int64_t heads) {
  int64_t width = sizeOf(x, -1);
  Value split = reshape(x, {0, 0, heads, ShapedType::isDynamic(width) ? -1 : width / heads});
  return transpose(split, {0, 2, 1, 3});
}

Value Expansion::mergeHeads(Value x) {
  int64_t heads = sizeOf(x, 1), width = sizeOf(x, -1);
  bool isKnown = !ShapedType::isDynamic(heads) && !ShapedType::isDynamic(width);
  return reshape(transpose(x, {0, 2, 1, 3}), {0, 0, isKnown ? heads * width : -1});
}

Value Expansion::unsqueeze(Value x, ArrayRef<int64_t> axes) {
  Dims dims = dimsOf(x);
  if (dims) {
    int64_t rank = dims->size() + axes.size();
    SmallVector<int64_t> sorted;
    for (int64_t axis : axes)
      sorted.push_back(axis < 0 ? axis + rank : axis);
    llvm::sort(sorted);
    for (int64_t axis : sorted)
      dims->insert(dims->begin() + axis, Dim{1, {}});
  }
  return make("Unsqueeze", {x, wholes(axes)}, typeFrom(dims, elementTypeOf(x)));
}

Value Expansion::concat(ArrayRef<Value> parts, int64_t axis) {
  Dims dims = dimsOf(parts.front());
  for (Value part : parts.drop_front()) {
    Dims more = dimsOf(part);
    if (!dims || !more) {
      dims.reset();
      break;
    }
    Dim &joined = (*dims)[axis < 0 ? axis + dims->size() : axis];
    const Dim &other = (*more)[axis < 0 ? axis + more->size() : axis];
    joined = {ShapedType::isDynamic(joined.size) || ShapedType::isDynamic(other.size)
                  ? ShapedType::kDynamic
                  : joined.size + other.size,
              {}};
  }
  return make("Concat", parts, typeFrom(dims, elementTypeOf(parts.front())), attribute("axis", axis));
}

static Dims resized(Value x, int64_t axis, int64_t size) {
  Dims dims = dimsOf(x);
  if (dims)
    (*dims)[axis < 0 ? axis + dims->size() : axis] = {size, {}};
  return dims;
}

Value Expansion::slice(Value x, int64_t axis, int64_t begin, int64_t end, int64_t step) {
  int64_t whole = sizeOf(x, axis), size = ShapedType::kDynamic;
  if (!ShapedType::isDynamic(whole))
    size = std::max<int64_t>(0, (std::min(end, whole) - begin + step - 1) / step);
  Type type = typeFrom(resized(x, axis, size), elementTypeOf(x));
  return make("Slice", {x, wholes(begin), wholes(end), wholes(axis), wholes(step)}, type);
}

Value Expansion::slice(Value x, int64_t axis, Value begin, Value end) {
  Type type = typeFrom(resized(x, axis, ShapedType::kDynamic), elementTypeOf(x));
  return make("Slice", {x, reshape(begin, 1), reshape(end, 1), wholes(axis)}, type);
}

SmallVector<Value> Expansion::split(Value x, int64_t axis, ArrayRef<int64_t> sizes) {
  SmallVector<Type> types;
  for (int64_t size : sizes)
    types.push_back(typeFrom(resized(x, axis, size), elementTypeOf(x)));
  ResultRange parts = nodes.nodes("Split", {x, wholes(sizes)}, types, attribute("axis", axis));
  return {parts.begin(), parts.end()};
}

Value Expansion::gather(Value table, Value indices) {
  Dims from = dimsOf(table), dims = dimsOf(indices);
  if (from && dims)
    dims->append(from->begin() + 1, from->end());
  else
    dims.reset();
  return make("Gather", {table, indices}, typeFrom(dims, elementTypeOf(table)));
}

Value Expansion::cast(Value x, Type element) {
  if (elementTypeOf(x) == element)
    return x;
  return make("Cast", x, typeFrom(dimsOf(x), element),
              attribute("to", static_cast<int64_t>(onnxproto::exportElementType(element))));
}

Value Expansion::reduce(StringRef type, Value x, int64_t axis, bool keepDims) {
  Dims dims = resized(x, axis, 1);
  if (dims && !keepDims)
    dims->erase(dims->begin() + (axis < 0 ? axis + dims->size() : axis));
  return make(type, {x, wholes(axis)}, typeFrom(dims, elementTypeOf(x)),
              attribute("keepdims", static_cast<int64_t>(keepDims)));
}
