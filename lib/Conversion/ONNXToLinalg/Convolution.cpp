// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conv as a product over gathered patches.
#include "lib/Conversion/ONNXToLinalg/Product.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "lib/Conversion/ONNXToLinalg/Window.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include <limits>

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

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
    // The batch stays first.
    graph.follow(patches, [&](RowFact fact) {
      const Rows &rows = x->*fact;
      return rows.isTraced() && rows.axis ? graph.lost(worksAlong) : rows;
    });
    Lowered matrix = graph.reshape(*w, {graph.constant(outputs), graph.constant(patch)});
    // A bias that differs by row follows the product.
    bool isPlain = !bias || bias->banks.empty();
    Lowered product = multiplyByWeight(graph, patches, packWeight(graph, matrix, /*transposed=*/true),
                                       graph.constant(outputs), isPlain ? bias : nullptr, w->banks);
    if (bias && !isPlain)
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

void adapter::addConvolutionLowerings(LoweringTable &table) { table.add("Conv", lowerConv); }
