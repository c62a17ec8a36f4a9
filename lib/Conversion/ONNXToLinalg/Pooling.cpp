// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Pooling, and the windows that it shares with convolutions.
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "lib/Conversion/ONNXToLinalg/Window.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

FailureOr<Window> adapter::readWindow(onnxir::NodeOp node, GraphLowering &graph, Lowered &x,
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

Value adapter::readWindowElement(B &b, Value source, ArrayRef<Value> limits, const Window &window, Value n,
                                 Value c, ArrayRef<Value> o, ArrayRef<Value> k, Value fill, Value *isInside) {
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
  if (isInside)
    *isInside = inside;
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

// Whether a position is in the input or in what is padded to it, rather than beyond both.
static Value insidePadding(B &b, const Window &window, ArrayRef<Value> limits, ArrayRef<Value> at,
                           ArrayRef<Value> offsets) {
  Value inside = arith::ConstantOp::create(b, b.getBoolAttr(true));
  for (size_t dim = 0; dim < offsets.size(); ++dim) {
    auto index = [&](int64_t value) { return arith::ConstantIndexOp::create(b, value); };
    Value start = arith::MulIOp::create(b, at[dim + 2], index(window.strides[dim]));
    Value step = arith::MulIOp::create(b, offsets[dim], index(window.dilations[dim]));
    Value end = arith::AddIOp::create(b, limits[dim], index(window.before[dim] + window.after[dim]));
    Value fits =
        arith::CmpIOp::create(b, arith::CmpIPredicate::ult, arith::AddIOp::create(b, start, step), end);
    inside = arith::AndIOp::create(b, inside, fits);
  }
  return inside;
}

template <bool isMax>
static LogicalResult lowerPool(onnxir::NodeOp node, GraphLowering &graph) {
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
  bool countsPadding = intAttr(node, "count_include_pad", 0);
  graph.set(node.getResult(0), graph.generate(shape, type, [&](B &b, ArrayRef<Value> at) -> Value {
    Value zero = arith::ConstantIndexOp::create(b, 0), one = arith::ConstantIndexOp::create(b, 1);
    Value fill = scalars::constant(b, type, isMax ? -std::numeric_limits<double>::infinity() : 0);
    SmallVector<Value> start{fill};
    if (!isMax)
      start.push_back(fill); // how many elements there are
    auto loop = scf::ForOp::create(b, zero, arith::ConstantIndexOp::create(b, count), one, start);
    OpBuilder::InsertionGuard guard(b);
    b.setInsertionPointToStart(loop.getBody());
    SmallVector<Value> offsets(kernel->size());
    Value flat = loop.getInductionVar();
    for (int64_t dim = kernel->size() - 1; dim >= 0; --dim) {
      Value size = arith::ConstantIndexOp::create(b, (*kernel)[dim]);
      offsets[dim] = arith::RemUIOp::create(b, flat, size);
      flat = arith::DivUIOp::create(b, flat, size);
    }
    Value inside;
    Value element =
        readWindowElement(b, source, limits, *window, at[0], at[1], at.drop_front(2), offsets, fill, &inside);
    Value so = loop.getRegionIterArgs()[0];
    if (isMax) {
      scf::YieldOp::create(b, ValueRange{Value(arith::MaximumFOp::create(b, so, element))});
    } else {
      Value unit = scalars::constant(b, type, 1);
      if (inside)
        unit = arith::SelectOp::create(
            b, countsPadding ? insidePadding(b, *window, limits, at, offsets) : inside, unit,
            scalars::constant(b, type, 0));
      Value number = arith::AddFOp::create(b, loop.getRegionIterArgs()[1], unit);
      scf::YieldOp::create(b, ValueRange{Value(arith::AddFOp::create(b, so, element)), number});
    }
    b.setInsertionPointAfter(loop);
    return isMax ? loop.getResult(0) : Value(arith::DivFOp::create(b, loop.getResult(0), loop.getResult(1)));
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

static LogicalResult lowerGlobalMaxPool(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *x = graph.input(node, 0);
  SmallVector<int64_t> axes;
  for (int64_t dim = 2; dim < x->rank(); ++dim)
    axes.push_back(dim);
  if (!isa<FloatType>(x->elementType))
    return node.emitError() << describe(node) << ": supported for floating-point tensors only";
  Value lowest = scalars::constant(graph.b, x->elementType, -std::numeric_limits<double>::infinity());
  graph.set(node.getResult(0),
            graph.reduce(*x, axes, /*keepDims=*/true, lowest, [](B &b, Value element, Value best) -> Value {
              return arith::MaximumFOp::create(b, element, best);
            }));
  return success();
}

void adapter::addPoolingLowerings(LoweringTable &table) {
  table.add("MaxPool", lowerPool<true>);
  table.add("AveragePool", lowerPool<false>, 7);
  table.add("GlobalAveragePool", lowerGlobalAveragePool);
  table.add("GlobalMaxPool", lowerGlobalMaxPool);
}
