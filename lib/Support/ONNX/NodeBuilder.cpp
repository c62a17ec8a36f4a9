// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Nodes that adapters add; see NodeBuilder.h. Operators are those of all operator sets from 7 on, but for norms.
#include "lib/Support/ONNX/NodeBuilder.h"
#include "dialects/ONNX/IR/NodeVersion.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/Activations.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/Support/Format.h"
#include <cmath>
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::DType;
using checkpoint::Tensor;

Type adapter::elementTypeOf(Value value) {
  auto type = dyn_cast<TensorType>(value.getType());
  return type ? type.getElementType() : Float32Type::get(value.getContext());
}

int64_t adapter::widthOf(Value value) {
  auto type = dyn_cast<RankedTensorType>(value.getType());
  return type && type.getRank() ? type.getShape().back() : ShapedType::kDynamic;
}

Type adapter::withWidth(Type type, int64_t width) {
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor || !tensor.getRank())
    return type;
  SmallVector<int64_t> shape(tensor.getShape());
  shape.back() = width;
  Attribute encoding = tensor.getEncoding();
  if (auto dims = dyn_cast_or_null<onnxir::DimsAttr>(encoding)) {
    SmallVector<StringAttr> names(dims.getNames());
    names.back() = StringAttr::get(type.getContext());
    encoding = onnxir::DimsAttr::get(type.getContext(), names);
  }
  return RankedTensorType::get(shape, tensor.getElementType(), encoding);
}

Type adapter::typeLike(Value like, int64_t width, Type element) {
  Type type = withWidth(like.getType(), width);
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor)
    return UnrankedTensorType::get(element);
  return RankedTensorType::get(tensor.getShape(), element, tensor.getEncoding());
}

Value NodeBuilder::node(StringRef operation, ValueRange inputs, Type type,
                        ArrayRef<NamedAttribute> attributes) {
  return nodes(operation, inputs, type, attributes)[0];
}

ResultRange NodeBuilder::nodes(StringRef operation, ValueRange inputs, TypeRange types,
                               ArrayRef<NamedAttribute> attributes) {
  OperationState state(loc, onnxir::NodeOp::getOperationName());
  state.addOperands(inputs);
  state.addTypes(types);
  // Names of nodes are unique.
  unsigned before = counts[operation]++;
  std::string path = name + "/" + operation.str() + (before ? "_" + std::to_string(before) : "");
  state.addAttribute("op_type", builder.getStringAttr(operation));
  if (!attributes.empty())
    state.addAttribute("node_attributes", builder.getDictionaryAttr(attributes));
  SmallVector<Attribute> names;
  for (size_t i = 0; i < types.size(); ++i)
    names.push_back(builder.getStringAttr(path + "_output_" + std::to_string(i)));
  state.addAttribute("result_names", builder.getArrayAttr(names));
  state.addAttribute("node_name", builder.getStringAttr(path));
  if (version)
    state.addAttribute(onnxir::versionAttribute, builder.getI64IntegerAttr(*version));
  return builder.create(state)->getResults();
}

Value NodeBuilder::parameter(StringRef key, Tensor tensor) {
  Type element = adapter::elementTypeOf(tensor.dtype, builder.getContext());
  auto type = RankedTensorType::get(tensor.shape, element);
  std::string bound = ParameterStore::get(builder.getContext()).add(scope, key, std::move(tensor));
  return ParameterOp::create(builder, loc, type, builder.getStringAttr(scope), builder.getStringAttr(bound),
                             ElementsAttr(), StringAttr());
}

Value NodeBuilder::constant(double value, Value like) {
  bool half = adapter::elementTypeOf(like).isF16();
  Tensor number = checkpoint::allocateTensor(half ? DType::F16 : DType::F32, {});
  if (half) {
    llvm::APFloat narrow(value);
    bool lost;
    narrow.convert(llvm::APFloat::IEEEhalf(), llvm::APFloat::rmNearestTiesToEven, &lost);
    auto bits = static_cast<uint16_t>(narrow.bitcastToAPInt().getZExtValue());
    std::memcpy(checkpoint::mutableData(number), &bits, sizeof bits);
  } else {
    auto single = static_cast<float>(value);
    std::memcpy(checkpoint::mutableData(number), &single, sizeof single);
  }
  std::string key = "constant." + std::string(half ? "f16." : "");
  llvm::raw_string_ostream(key) << llvm::format("%.9g", value); // tells all f32 apart
  number.key = key;
  return parameter(key, std::move(number));
}

Value NodeBuilder::integers(std::string key, ArrayRef<int64_t> values, ArrayRef<int64_t> shape) {
  Tensor tensor = checkpoint::allocateTensor(DType::I64, {shape.begin(), shape.end()});
  std::memcpy(checkpoint::mutableData(tensor), values.data(), values.size() * sizeof(int64_t));
  for (int64_t each : values)
    key += "." + std::to_string(each);
  tensor.key = key;
  // Only small ones stand in the IR.
  if (values.size() > 64)
    return parameter(key, std::move(tensor));
  ParameterStore::get(builder.getContext()).set(scope, key, std::move(tensor));
  auto type = RankedTensorType::get(shape, builder.getI64Type());
  return ParameterOp::create(builder, loc, type, builder.getStringAttr(scope), builder.getStringAttr(key),
                             cast<ElementsAttr>(DenseElementsAttr::get(type, values)), StringAttr());
}

Value NodeBuilder::integers(ArrayRef<int64_t> values) {
  return integers("integers", values, {static_cast<int64_t>(values.size())});
}

Value NodeBuilder::integer(int64_t value) { return integers("integer", value, {}); }

Value NodeBuilder::transposed(Value matrix) {
  auto type = cast<RankedTensorType>(matrix.getType());
  int64_t rows = type.getDimSize(0), columns = type.getDimSize(1);
  auto source = matrix.getDefiningOp<ParameterOp>();
  ParameterStore &store = ParameterStore::get(builder.getContext());
  const Tensor *contents = source ? store.lookup(source.getScope(), source.getKey()) : nullptr;
  if (!contents) {
    Attribute order = builder.getDenseI64ArrayAttr({1, 0});
    return node("Transpose", matrix, RankedTensorType::get({columns, rows}, type.getElementType()),
                NamedAttribute(builder.getStringAttr("perm"), order));
  }
  Tensor turned = checkpoint::allocateTensor(contents->dtype, {columns, rows});
  size_t size = checkpoint::dtypeSize(contents->dtype);
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t j = 0; j < columns; ++j)
      std::memcpy(checkpoint::mutableData(turned) + (j * rows + i) * size,
                  contents->data + (i * columns + j) * size, size);
  turned.key = contents->key;
  std::string kept = std::exchange(scope, source.getScope().str());
  Value result = parameter(source.getKey().str() + ".transposed", std::move(turned));
  scope = kept;
  if (source.use_empty())
    source.erase();
  return result;
}

Value NodeBuilder::times(Value x, double factor) {
  return factor == 1.0 ? x : node("Mul", {x, constant(factor, x)});
}

Value NodeBuilder::product(Value x, Value matrix) {
  return node("MatMul", {x, matrix}, withWidth(x.getType(), widthOf(matrix)));
}

Value NodeBuilder::layerNorm(Value x, Value weight, Value bias, double epsilon) {
  SmallVector<NamedAttribute> attributes = {
      {builder.getStringAttr("axis"), builder.getI64IntegerAttr(-1)},
      {builder.getStringAttr("epsilon"), builder.getF32FloatAttr(static_cast<float>(epsilon))}};
  return node("LayerNormalization", {x, weight, bias}, x.getType(), attributes);
}

Value NodeBuilder::tokenMean(Value x, int64_t opset) {
  Type type = x.getType();
  if (auto tensor = dyn_cast<RankedTensorType>(type); tensor && tensor.getRank() == 3) {
    SmallVector<int64_t> shape(tensor.getShape());
    shape[1] = 1;
    Attribute encoding = tensor.getEncoding();
    if (auto dims = dyn_cast_or_null<onnxir::DimsAttr>(encoding)) {
      SmallVector<StringAttr> names(dims.getNames());
      names[1] = StringAttr::get(type.getContext());
      encoding = onnxir::DimsAttr::get(type.getContext(), names);
    }
    type = RankedTensorType::get(shape, tensor.getElementType(), encoding);
  }
  if (opset >= 18)
    return node("ReduceMean", {x, integers({1})}, type);
  Attribute axes = builder.getDenseI64ArrayAttr({1});
  return node("ReduceMean", {x}, type, NamedAttribute(builder.getStringAttr("axes"), axes));
}

namespace {
// Values of a graph, each operation a node.
struct NodeArithmetic {
  NodeBuilder &b;

  Value add(Value x, Value y) { return b.node("Add", {x, y}); }
  Value mul(Value x, Value y) { return b.node("Mul", {x, y}); }
  Value plus(Value x, double y) { return add(x, b.constant(y, x)); }
  Value times(Value x, double y) { return b.times(x, y); }
  Value clipped(Value x, double low, double high) {
    return b.node("Min", {b.node("Max", {x, b.constant(low, x)}), b.constant(high, x)});
  }
  Value relu(Value x) { return b.node("Relu", {x}); }
  Value leakyRelu(Value x, double slope) {
    Builder &builder = b.builder;
    return b.node(
        "LeakyRelu", {x}, x.getType(),
        NamedAttribute(builder.getStringAttr("alpha"), builder.getF32FloatAttr(static_cast<float>(slope))));
  }
  Value sigmoid(Value x) { return b.node("Sigmoid", {x}); }
  Value tanh(Value x) { return b.node("Tanh", {x}); }
  Value erf(Value x) { return b.node("Erf", {x}); }
  Value softplus(Value x) { return b.node("Softplus", {x}); }
};
} // namespace

Value NodeBuilder::activation(checkpoint::Activation function, Value x) {
  NodeArithmetic arithmetic{*this};
  return adapter::activation(arithmetic, function, x);
}
