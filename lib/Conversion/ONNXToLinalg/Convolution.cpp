// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conv as a product over gathered patches; pooling as windows.
#include "lib/Conversion/ONNXToLinalg/Product.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

namespace {
// Sizes of a sliding window over the spatial dimensions [2, rank).
struct Window {
  SmallVector<int64_t> kernel, strides, dilations, before, after;
  SmallVector<OpFoldResult> output;
  bool reachesBeyond = false; // though nothing is padded
};
} // namespace

static FailureOr<Window> readWindow(onnxir::NodeOp node, GraphLowering &graph, Lowered &x,
                                    ArrayRef<int64_t> kernel) {
  Window window;
  size_t dims = x.rank() - 2;
  window.kernel.assign(kernel.begin(), kernel.end());
  window.strides = intsAttr(node, "strides").value_or(SmallVector<int64_t>(dims, 1));
  window.dilations = intsAttr(node, "dilations").value_or(SmallVector<int64_t>(dims, 1));
  SmallVector<int64_t> pads = intsAttr(node, "pads").value_or(SmallVector<int64_t>(2 * dims, 0));
  StringRef autoPad = stringAttr(node, "auto_pad", "NOTSET");
  if (window.kernel.size() != dims || window.strides.size() != dims || window.dilations.size() != dims ||
      pads.size() != 2 * dims)
    return node.emitError() << describe(node) << ": kernel, strides, dilations or pads do not fit the rank";
  for (size_t dim = 0; dim < dims; ++dim) {
    int64_t span = (window.kernel[dim] - 1) * window.dilations[dim] + 1, stride = window.strides[dim];
    if (stride <= 0 || window.kernel[dim] <= 0 || window.dilations[dim] <= 0)
      return node.emitError() << describe(node) << ": kernel, strides and dilations must be positive";
    int64_t before = pads[dim], after = pads[dim + dims];
    if (autoPad == "SAME_UPPER" || autoPad == "SAME_LOWER") {
      int64_t size = x.staticSize(dim + 2);
      if (ShapedType::isDynamic(size))
        return node.emitError() << describe(node) << ": auto_pad needs static sizes";
      int64_t total = std::max<int64_t>((llvm::divideCeil(size, stride) - 1) * stride + span - size, 0);
      before = autoPad == "SAME_UPPER" ? total / 2 : total - total / 2;
      after = total - before;
    } else if (autoPad == "VALID") {
      before = after = 0;
    }
    window.before.push_back(before);
    window.after.push_back(after);
    OpFoldResult padded = graph.add(x.shape[dim + 2], graph.constant(before + after));
    bool roundUp = intAttr(node, "ceil_mode", 0);
    int64_t rounding = roundUp ? stride - 1 : 0;
    // An input that is smaller than the kernel gives nothing.
    OpFoldResult room =
        graph.max(graph.add(padded, graph.constant(rounding + stride - span)), graph.constant(0));
    OpFoldResult count = graph.divide(room, graph.constant(stride));
    if (roundUp) {
      // A window that starts in the padding behind the input does not count; others may reach beyond it.
      OpFoldResult starts = graph.add(x.shape[dim + 2], graph.constant(before + stride - 1));
      count = graph.min(count, graph.divide(starts, graph.constant(stride)));
      window.reachesBeyond = true;
    }
    window.output.push_back(count);
  }
  return window;
}

// x[n, c, o * stride - before + k * dilation] or fill outside.
static Value readWindowElement(B &b, Value source, ArrayRef<Value> limits, const Window &window, Value n,
                               Value c, ArrayRef<Value> o, ArrayRef<Value> k, Value fill) {
  SmallVector<Value> at{n, c};
  Value inside;
  for (size_t dim = 0; dim < o.size(); ++dim) {
    Value position = arith::MulIOp::create(b, o[dim], arith::ConstantIndexOp::create(b, window.strides[dim]));
    Value step = arith::MulIOp::create(b, k[dim], arith::ConstantIndexOp::create(b, window.dilations[dim]));
    position = arith::AddIOp::create(b, position, step);
    if (window.before[dim] || window.after[dim] || window.reachesBeyond) {
      position = arith::SubIOp::create(b, position, arith::ConstantIndexOp::create(b, window.before[dim]));
      Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::ult, position, limits[dim]);
      inside = inside ? Value(arith::AndIOp::create(b, inside, fits)) : fits;
    }
    at.push_back(position);
  }
  if (!inside)
    return tensor::ExtractOp::create(b, source, at);
  auto choose = scf::IfOp::create(b, TypeRange{fill.getType()}, inside, /*withElse=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(choose.thenBlock());
  scf::YieldOp::create(b, ValueRange{tensor::ExtractOp::create(b, source, at)});
  b.setInsertionPointToStart(choose.elseBlock());
  scf::YieldOp::create(b, fill);
  return choose.getResult(0);
}

static LogicalResult lowerConv(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0), *w = graph.input(node, 1), *bias = graph.input(node, 2);
  int64_t groups = intAttr(node, "group", 1);
  if (!x->elementType.isF32() || !w->hasStaticShape() || x->rank() < 3 || w->rank() != x->rank())
    return node.emitError() << describe(node)
                            << ": convolutions are compiled for f32 and static kernels only";
  SmallVector<int64_t> kernel;
  for (int64_t dim = 2; dim < w->rank(); ++dim)
    kernel.push_back(w->staticSize(dim));
  FailureOr<Window> window = readWindow(node, graph, *x, kernel);
  if (failed(window))
    return failure();
  int64_t outputs = w->staticSize(0), perGroup = w->staticSize(1), dims = kernel.size();
  if (groups < 1 || outputs % groups)
    return node.emitError() << describe(node) << ": " << outputs << " channels do not divide into groups";
  graph.requireEqual(x->shape[1], graph.constant(perGroup * groups),
                     describe(node) + ": channels of input and kernel differ");
  if (bias)
    graph.requireEqual(graph.product(bias->shape), graph.constant(outputs),
                       describe(node) + ": the sizes of bias and result differ");
  Type type = x->elementType;
  Value source = graph.tensor(*x);
  SmallVector<Value> limits;
  for (int64_t dim = 2; dim < x->rank(); ++dim)
    limits.push_back(graph.value(x->shape[dim]));
  SmallVector<int64_t> sizes{perGroup};
  llvm::append_range(sizes, kernel);
  int64_t patch = ShapedType::getNumElements(sizes);

  // Splits a flat position in a patch into channel and kernel offsets.
  auto split = [&](B &b, Value flat, Value &channel, SmallVectorImpl<Value> &offsets) {
    offsets.resize(dims);
    for (int64_t dim = dims - 1; dim >= 0; --dim) {
      Value size = arith::ConstantIndexOp::create(b, kernel[dim]);
      offsets[dim] = arith::RemUIOp::create(b, flat, size);
      flat = arith::DivUIOp::create(b, flat, size);
    }
    channel = flat;
  };

  SmallVector<OpFoldResult> resultShape{x->shape[0], graph.constant(outputs)};
  llvm::append_range(resultShape, window->output);
  if (groups == 1 && w->isParameter) {
    SmallVector<OpFoldResult> patchShape{x->shape[0]};
    llvm::append_range(patchShape, window->output);
    patchShape.push_back(graph.constant(patch));
    Lowered patches = graph.generate(patchShape, type, [&](B &b, ArrayRef<Value> at) -> Value {
      Value channel;
      SmallVector<Value> offsets;
      split(b, at.back(), channel, offsets);
      return readWindowElement(b, source, limits, *window, at[0], channel, at.slice(1, dims), offsets,
                               scalars::constant(b, type, 0));
    });
    patches.rows = x->rows; // the batch stays first
    Lowered matrix = graph.reshape(*w, {graph.constant(outputs), graph.constant(patch)});
    Lowered product = multiplyByWeight(graph, patches, packWeight(graph, matrix, /*transposed=*/true),
                                       graph.constant(outputs), bias && bias->banks.empty() ? bias : nullptr);
    if (bias && !bias->banks.empty())
      product = graph.elementwise({&product, bias}, type, [](B &b, ArrayRef<Value> s) -> Value {
        return arith::AddFOp::create(b, s[0], s[1]);
      });
    SmallVector<int64_t> permutation{0, dims + 1};
    for (int64_t dim = 0; dim < dims; ++dim)
      permutation.push_back(dim + 1);
    graph.set(node.getResult(0), graph.transpose(product, permutation));
    return success();
  }

  // Grouped (depthwise, mostly): each output element sums its own patch.
  Lowered flatWeight = graph.reshape(*w, {graph.constant(outputs), graph.constant(patch)});
  Value weights = graph.tensor(flatWeight), biases = bias ? graph.tensor(*bias) : Value();
  int64_t outputsPerGroup = outputs / groups;
  graph.set(node.getResult(0), graph.generate(resultShape, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value start = scalars::constant(b, type, 0);
    if (biases)
      start = tensor::ExtractOp::create(b, biases, ValueRange{at[1]});
    Value group = arith::DivUIOp::create(b, at[1], arith::ConstantIndexOp::create(b, outputsPerGroup));
    Value first = arith::MulIOp::create(b, group, arith::ConstantIndexOp::create(b, perGroup));
    auto loop = scf::ForOp::create(b, zero, arith::ConstantIndexOp::create(b, patch), one, start);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    Value channel;
    SmallVector<Value> offsets;
    split(b, loop.getInductionVar(), channel, offsets);
    channel = arith::AddIOp::create(b, channel, first);
    Value element = readWindowElement(b, source, limits, *window, at[0], channel, at.drop_front(2), offsets,
                                      scalars::constant(b, type, 0));
    Value weight = tensor::ExtractOp::create(b, weights, ValueRange{at[1], loop.getInductionVar()});
    Value product = arith::MulFOp::create(b, element, weight, scalars::contract(b));
    scf::YieldOp::create(b, ValueRange{Value(arith::AddFOp::create(b, loop.getRegionIterArgs()[0], product,
                                                                   scalars::contract(b)))});
    b.setInsertionPointAfter(loop);
    return loop.getResult(0);
  }));
  return success();
}

static LogicalResult lowerMaxPool(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  std::optional<SmallVector<int64_t>> kernel = intsAttr(node, "kernel_shape");
  if (!kernel || node.getNumResults() > 1 || !isa<FloatType>(x->elementType))
    return node.emitError() << describe(node) << ": needs kernel_shape, one result and floats";
  FailureOr<Window> window = readWindow(node, graph, *x, *kernel);
  if (failed(window))
    return failure();
  Type type = x->elementType;
  Value source = graph.tensor(*x);
  SmallVector<Value> limits;
  for (int64_t dim = 2; dim < x->rank(); ++dim)
    limits.push_back(graph.value(x->shape[dim]));
  SmallVector<OpFoldResult> shape{x->shape[0], x->shape[1]};
  llvm::append_range(shape, window->output);
  int64_t count = ShapedType::getNumElements(*kernel);
  graph.set(node.getResult(0), graph.generate(shape, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value lowest = scalars::constant(b, type, -std::numeric_limits<double>::infinity());
    auto loop = scf::ForOp::create(b, zero, arith::ConstantIndexOp::create(b, count), one, lowest);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> offsets(kernel->size());
    Value flat = loop.getInductionVar();
    for (int64_t dim = kernel->size() - 1; dim >= 0; --dim) {
      Value size = arith::ConstantIndexOp::create(b, (*kernel)[dim]);
      offsets[dim] = arith::RemUIOp::create(b, flat, size);
      flat = arith::DivUIOp::create(b, flat, size);
    }
    Value element =
        readWindowElement(b, source, limits, *window, at[0], at[1], at.drop_front(2), offsets, lowest);
    Value best = arith::MaximumFOp::create(b, loop.getRegionIterArgs()[0], element);
    scf::YieldOp::create(b, best);
    b.setInsertionPointAfter(loop);
    return loop.getResult(0);
  }));
  return success();
}

static LogicalResult lowerGlobalAveragePool(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  SmallVector<int64_t> axes;
  SmallVector<OpFoldResult> reduced;
  for (int64_t dim = 2; dim < x->rank(); ++dim) {
    axes.push_back(dim);
    reduced.push_back(x->shape[dim]);
  }
  Type type = x->elementType;
  Lowered sum =
      graph.reduce(*x, axes, /*keepDims=*/true, scalars::constant(graph.b, type, 0),
                   [](B &b, Value element, Value sum) { return scalars::accumulate(b, element, sum); });
  Value count =
      arith::IndexCastOp::create(graph.b, graph.b.getI64Type(), graph.value(graph.product(reduced)));
  Value divisor = arith::SIToFPOp::create(graph.b, type, count);
  graph.set(node.getResult(0), graph.elementwise({&sum}, type, [&](B &b, ArrayRef<Value> s) -> Value {
    return arith::DivFOp::create(b, s[0], divisor);
  }));
  return success();
}

void adapter::addConvolutionLowerings(LoweringTable &table) {
  table.add("Conv", lowerConv);
  table.add("MaxPool", lowerMaxPool);
  table.add("GlobalAveragePool", lowerGlobalAveragePool);
}
