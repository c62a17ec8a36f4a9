// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Softmax and the norms, as reductions and elementwise operations.
#include "lib/Conversion/ONNXToLinalg/RowFunctions.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

static Lowered sumOver(GraphLowering &graph, Lowered &x, ArrayRef<int64_t> axes) {
  return graph.reduce(x, axes, /*keepDims=*/true, scalars::constant(graph.b, x.elementType, 0),
                      [](B &b, Value element, Value sum) { return scalars::accumulate(b, element, sum); });
}

static Lowered meanOver(GraphLowering &graph, Lowered &x, ArrayRef<int64_t> axes) {
  B &b = graph.b;
  SmallVector<OpFoldResult> reduced;
  for (int64_t axis : axes)
    reduced.push_back(x.shape[axis]);
  Value count = arith::IndexCastOp::create(b, b.getI64Type(), graph.value(graph.product(reduced)));
  Value divisor = arith::SIToFPOp::create(b, x.elementType, count);
  Lowered sum = sumOver(graph, x, axes);
  return graph.elementwise({&sum}, x.elementType, [&](B &b, ArrayRef<Value> s) -> Value {
    return arith::DivFOp::create(b, s[0], divisor);
  });
}

Lowered adapter::softmax(GraphLowering &graph, Lowered &x, int64_t axis, bool logarithm) {
  B &b = graph.b;
  Value lowest = scalars::constant(b, x.elementType, -std::numeric_limits<double>::infinity());
  Lowered peak =
      graph.reduce(x, {axis}, /*keepDims=*/true, lowest, [](B &b, Value element, Value best) -> Value {
        return arith::MaximumFOp::create(b, element, best);
      });
  if (logarithm) {
    Lowered shifted = graph.elementwise({&x, &peak}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
      return arith::SubFOp::create(b, s[0], s[1]);
    });
    Lowered powers = graph.elementwise({&shifted}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
      return math::ExpOp::create(b, s[0]);
    });
    Lowered sum = sumOver(graph, powers, {axis});
    return graph.elementwise({&shifted, &sum}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
      return arith::SubFOp::create(b, s[0], math::LogOp::create(b, s[1]));
    });
  }
  Lowered powers = graph.elementwise({&x, &peak}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
    return math::ExpOp::create(b, arith::SubFOp::create(b, s[0], s[1]));
  });
  Lowered sum = sumOver(graph, powers, {axis});
  return graph.elementwise({&powers, &sum}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::DivFOp::create(b, s[0], s[1]);
  });
}

template <bool logarithm>
static LogicalResult lowerSoftmax(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -1), x->rank());
  if (failed(axis))
    return failure();
  graph.set(node.getResult(0), softmax(graph, *x, *axis, logarithm));
  return success();
}

// Before opset 13 the input was flattened to a matrix at the axis.
template <bool logarithm>
static LogicalResult lowerSoftmax1(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", 1), x->rank());
  if (failed(axis))
    return failure();
  ArrayRef<OpFoldResult> shape = x->shape;
  Lowered matrix =
      graph.reshape(*x, {graph.product(shape.take_front(*axis)), graph.product(shape.drop_front(*axis))});
  Lowered result = softmax(graph, matrix, 1, logarithm);
  graph.set(node.getResult(0), graph.reshape(result, shape));
  return success();
}

static void setIfWanted(onnxir::NodeOp node, GraphLowering &graph, unsigned index, const Lowered &value) {
  if (index < node.getNumResults() && !isa<NoneType>(node.getResult(index).getType()))
    graph.set(node.getResult(index), value);
}

static LogicalResult lowerLayerNormalization(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *scale = graph.input(node, 1), *bias = graph.input(node, 2);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -1), x->rank());
  if (failed(axis))
    return failure();
  double epsilon = floatAttr(node, "epsilon", 1e-5);
  SmallVector<int64_t> axes;
  for (int64_t dim = *axis; dim < x->rank(); ++dim)
    axes.push_back(dim);
  Type type = x->elementType;
  Lowered mean = meanOver(graph, *x, axes);
  Lowered centred = graph.elementwise({x, &mean}, type, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::SubFOp::create(b, s[0], s[1]);
  });
  Lowered squares = graph.elementwise({&centred}, type, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::MulFOp::create(b, s[0], s[0]);
  });
  Lowered variance = meanOver(graph, squares, axes);
  Lowered inverse = graph.elementwise({&variance}, type, [&](B &b, ArrayRef<Value> s) -> Value {
    Value sum = arith::AddFOp::create(b, s[0], scalars::constant(b, type, epsilon));
    return arith::DivFOp::create(b, scalars::constant(b, type, 1), math::SqrtOp::create(b, sum));
  });
  SmallVector<Lowered *> inputs{&centred, &inverse, scale};
  if (bias)
    inputs.push_back(bias);
  Lowered result = graph.elementwise(inputs, type, [](B &b, ArrayRef<Value> s) -> Value {
    Value scaled = arith::MulFOp::create(b, arith::MulFOp::create(b, s[0], s[1]), s[2]);
    return s.size() > 3 ? Value(arith::AddFOp::create(b, scaled, s[3])) : scaled;
  });
  setIfWanted(node, graph, 1, mean);
  setIfWanted(node, graph, 2, inverse);
  graph.set(node.getResult(0), std::move(result));
  return success();
}

static LogicalResult lowerRMSNormalization(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *scale = graph.input(node, 1);
  FailureOr<int64_t> axis = normalizeAxis(node, intAttr(node, "axis", -1), x->rank());
  if (failed(axis))
    return failure();
  double epsilon = floatAttr(node, "epsilon", 1e-5);
  SmallVector<int64_t> axes;
  for (int64_t dim = *axis; dim < x->rank(); ++dim)
    axes.push_back(dim);
  Type type = x->elementType;
  Lowered squares = graph.elementwise(
      {x}, type, [](B &b, ArrayRef<Value> s) -> Value { return arith::MulFOp::create(b, s[0], s[0]); });
  Lowered variance = meanOver(graph, squares, axes);
  graph.set(node.getResult(0),
            graph.elementwise({x, &variance, scale}, type, [&](B &b, ArrayRef<Value> s) -> Value {
              Value sum = arith::AddFOp::create(b, s[1], scalars::constant(b, type, epsilon));
              Value normal = arith::DivFOp::create(b, s[0], math::SqrtOp::create(b, sum));
              return arith::MulFOp::create(b, normal, s[2]);
            }));
  return success();
}

static LogicalResult lowerBatchNormalization(onnxir::NodeOp node, GraphLowering &graph) {
  if (intAttr(node, "training_mode", 0))
    return node.emitError() << describe(node) << ": training mode is not supported";
  Lowered *x = graph.input(node, 0);
  double epsilon = floatAttr(node, "epsilon", 1e-5);
  Type type = x->elementType;
  // Channels stand in dimension 1.
  SmallVector<OpFoldResult> shape(x->rank(), graph.constant(1));
  if (x->rank() < 2)
    return node.emitError() << describe(node) << ": the input needs a channel dimension";
  SmallVector<Lowered, 4> channels;
  for (unsigned i = 1; i <= 4; ++i) {
    Lowered *channel = graph.input(node, i);
    shape[1] = graph.product(channel->shape);
    graph.requireEqual(shape[1], x->shape[1], describe(node) + ": the numbers of channels differ");
    channels.push_back(graph.reshape(*channel, shape));
  }
  graph.set(
      node.getResult(0),
      graph.elementwise({x, &channels[0], &channels[1], &channels[2], &channels[3]}, type,
                        [&](B &b, ArrayRef<Value> s) -> Value {
                          Value sum = arith::AddFOp::create(b, s[4], scalars::constant(b, type, epsilon));
                          Value factor = arith::DivFOp::create(b, s[1], math::SqrtOp::create(b, sum));
                          Value centred = arith::SubFOp::create(b, s[0], s[3]);
                          return arith::AddFOp::create(b, arith::MulFOp::create(b, centred, factor), s[2]);
                        }));
  return success();
}

// Each channel (InstanceNormalization) or group of channels is normalised over itself and all positions.
static LogicalResult lowerGroupNormalization(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered x = *graph.input(node, 0), *scale = graph.input(node, 1), *bias = graph.input(node, 2);
  bool instance = node.getOpType() == "InstanceNormalization";
  int64_t groups = intAttr(node, "num_groups", 1), channels = x.rank() < 2 ? -1 : x.staticSize(1);
  double epsilon = floatAttr(node, "epsilon", 1e-5);
  if (channels < 0 || !isa<FloatType>(x.elementType))
    return node.emitError() << describe(node) << ": needs floats and a static number of channels";
  groups = instance ? channels : groups;
  if (groups < 1 || channels % groups)
    return node.emitError() << describe(node) << ": " << channels << " channels do not divide into " << groups
                            << " groups";
  SmallVector<OpFoldResult> whole(x.shape), flat{x.shape[0], graph.constant(groups)};
  SmallVector<OpFoldResult> rest{graph.constant(channels / groups)};
  rest.append(whole.begin() + 2, whole.end());
  flat.push_back(graph.product(rest));
  Type type = x.elementType;
  Lowered matrix = graph.reshape(x, flat);
  Lowered mean = meanOver(graph, matrix, {2});
  Lowered centred = graph.elementwise({&matrix, &mean}, type, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::SubFOp::create(b, s[0], s[1]);
  });
  Lowered squares = graph.elementwise({&centred}, type, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::MulFOp::create(b, s[0], s[0]);
  });
  Lowered variance = meanOver(graph, squares, {2});
  Lowered normal = graph.elementwise({&centred, &variance}, type, [&](B &b, ArrayRef<Value> s) -> Value {
    Value sum = arith::AddFOp::create(b, s[1], scalars::constant(b, type, epsilon));
    return arith::DivFOp::create(b, s[0], math::SqrtOp::create(b, sum));
  });
  normal = graph.reshape(normal, whole);
  // Scale and bias by channel; before opset 21 GroupNormalization had them by group.
  SmallVector<Lowered, 4> factors;
  for (Lowered *each : {scale, bias}) {
    SmallVector<OpFoldResult> shape(x.rank(), graph.constant(1));
    shape[1] = graph.product(each->shape);
    Lowered factor = *each;
    if (!instance && node.getOpsetVersion() < 21) {
      graph.requireEqual(shape[1], graph.constant(groups), describe(node) + ": the number of groups differs");
      Value table = graph.tensor(factor), size = graph.value(graph.constant(channels / groups));
      factor = graph.generate({graph.constant(channels)}, type, [&](B &b, ArrayRef<Value> at) -> Value {
        return tensor::ExtractOp::create(b, table, ValueRange{arith::DivUIOp::create(b, at[0], size)});
      });
      shape[1] = graph.constant(channels);
    }
    graph.requireEqual(shape[1], x.shape[1], describe(node) + ": the numbers of channels differ");
    factors.push_back(graph.reshape(factor, shape));
  }
  graph.set(
      node.getResult(0),
      graph.elementwise({&normal, &factors[0], &factors[1]}, type, [](B &b, ArrayRef<Value> s) -> Value {
        return arith::AddFOp::create(b, arith::MulFOp::create(b, s[0], s[1]), s[2]);
      }));
  return success();
}

void adapter::addNormalizationLowerings(LoweringTable &table) {
  table.add("Softmax", lowerSoftmax1<false>);
  table.add("Softmax", lowerSoftmax<false>, 13);
  table.add("LogSoftmax", lowerSoftmax1<true>);
  table.add("LogSoftmax", lowerSoftmax<true>, 13);
  table.add("LayerNormalization", lowerLayerNormalization, 17);
  table.add("RMSNormalization", lowerRMSNormalization, 23);
  table.add("BatchNormalization", lowerBatchNormalization, 7);
  table.add("InstanceNormalization", lowerGroupNormalization, 6);
  table.add("GroupNormalization", lowerGroupNormalization, 18);
}
