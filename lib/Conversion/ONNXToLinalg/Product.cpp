// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// MatMul and Gemm. A product with a weight (a matrix known at build time) goes to packed kernels, one of two
// activations to batched ones.
#include "lib/Conversion/ONNXToLinalg/Product.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

Value adapter::packWeight(GraphLowering &graph, Lowered &weight, bool transposed) {
  B &b = graph.b;
  OpFoldResult depth = weight.shape[transposed ? 1 : 0], columns = weight.shape[transposed ? 0 : 1];
  OpFoldResult block = graph.constant(graph.columnBlock);
  OpFoldResult blocks = graph.divide(graph.add(columns, graph.constant(graph.columnBlock - 1)), block);
  Value init = graph.empty({blocks, depth, block}, weight.elementType);
  return kernel::PackOp::create(b, init.getType(), graph.tensor(weight), init, transposed)
      .getResults()
      .front();
}

static Lowered multiplyPlainly(GraphLowering &graph, Lowered &x, Value packed, OpFoldResult columns,
                               Lowered *bias) {
  ArrayRef<OpFoldResult> shape = x.shape;
  OpFoldResult rows = graph.product(shape.drop_back());
  Lowered matrix = graph.reshape(x, {rows, shape.back()});
  Value init = graph.empty({rows, columns}, x.elementType);
  Value biasTensor = bias ? graph.tensor(*bias) : Value();
  Value product =
      kernel::LinearOp::create(graph.b, init.getType(), graph.tensor(matrix), packed, biasTensor, init)
          .getResults()
          .front();
  SmallVector<OpFoldResult> result(shape.drop_back());
  result.push_back(columns);
  Lowered flat = graph.wrap(product, {rows, columns});
  Lowered whole = graph.reshape(flat, result);
  graph.follow(whole,
               [&](RowFact fact) { return reducedRows(graph, x.*fact, {x.rank() - 1}, /*keepDims=*/true); });
  return whole;
}

static Lowered addBias(GraphLowering &graph, Lowered &product, Lowered *bias) {
  if (!bias)
    return product;
  return graph.elementwise({&product, bias}, product.elementType, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::AddFOp::create(b, s[0], s[1]);
  });
}

Lowered adapter::multiplyByWeight(GraphLowering &graph, Lowered &x, Value packed, OpFoldResult columns,
                                  Lowered *bias, ArrayRef<int64_t> banks) {
  const auto *able = llvm::find_if(banks, [&](int64_t bank) { return graph.requireRows(x, bank, 1); });
  if (able == banks.end())
    return multiplyPlainly(graph, x, packed, columns, bias);
  // The first updates come with the product. A bias follows those of all.
  ArrayRef<int64_t> others(able + 1, banks.end());
  Lowered result = graph.multiplyByRow(x, packed, others.empty() ? bias : nullptr, columns, *able);
  if (others.empty())
    return result;
  result = graph.addRowUpdates(x, packed, result, others);
  return addBias(graph, result, bias);
}

// The same; a product of what does not depend on the rows is computed once, and does so from its updates on.
static Lowered multiplyOrLift(GraphLowering &graph, Lowered &x, Value packed, OpFoldResult columns,
                              Lowered *bias, ArrayRef<int64_t> banks) {
  if (!graph.startsRows(x, banks) || x.rank() < 2)
    return multiplyByWeight(graph, x, packed, columns, bias, banks);
  Lowered product = multiplyPlainly(graph, x, packed, columns, nullptr);
  Lowered input = graph.lift(x), result = graph.lift(product);
  result = graph.addRowUpdates(input, packed, result, banks);
  result = addBias(graph, result, bias);
  result.isLifted = true;
  return result;
}

static LogicalResult checkFloat(onnxir::NodeOp node, Lowered *x) {
  if (!x->elementType.isF32())
    return node.emitError() << describe(node) << ": products are compiled for f32 only, not for "
                            << x->elementType;
  return success();
}

static std::string innerSizes(onnxir::NodeOp node) {
  return describe(node) + ": inner sizes differ: {0} of " + describeInput(node, 0) + " and {1} of " +
         describeInput(node, 1);
}

// [batch..., m, k] times [batch..., k, n] (or [batch..., n, k]) with equal or broadcast batches.
static FailureOr<Lowered> multiplyBatches(onnxir::NodeOp node, GraphLowering &graph, Lowered x, Lowered y,
                                          bool transposed) {
  SmallVector<OpFoldResult> xBatch(x.shape.begin(), x.shape.end() - 2),
      yBatch(y.shape.begin(), y.shape.end() - 2);
  Lowered xBatches, yBatches;
  xBatches.shape = xBatch;
  yBatches.shape = yBatch;
  SmallVector<OpFoldResult> batch = graph.broadcastShapes({&xBatches, &yBatches});
  // Broadcast batches are written out; exporters leave them rarely and small.
  auto expand = [&](Lowered &value, ArrayRef<OpFoldResult> own) {
    if (own == ArrayRef(batch))
      return value;
    SmallVector<OpFoldResult> wanted(batch);
    wanted.append(value.shape.end() - 2, value.shape.end());
    return graph.broadcastTo(value, wanted);
  };
  x = expand(x, xBatch);
  y = expand(y, yBatch);
  OpFoldResult count = graph.product(batch);
  OpFoldResult rows = x.shape[x.rank() - 2], depth = x.shape[x.rank() - 1];
  OpFoldResult columns = y.shape[y.rank() - (transposed ? 2 : 1)];
  OpFoldResult otherDepth = y.shape[y.rank() - (transposed ? 1 : 2)];
  graph.requireEqual(depth, otherDepth, innerSizes(node));
  Lowered lhs = graph.reshape(x, {count, rows, depth});
  Lowered rhs = graph.reshape(y, {count, y.shape[y.rank() - 2], y.shape[y.rank() - 1]});
  Value init = graph.empty({count, rows, columns}, x.elementType);
  Value product = kernel::BatchMatmulOp::create(graph.b, init.getType(), graph.tensor(lhs), graph.tensor(rhs),
                                                init, transposed)
                      .getResults()
                      .front();
  Lowered flat = graph.wrap(product, {count, rows, columns});
  SmallVector<OpFoldResult> shape(batch);
  shape.append({rows, columns});
  Lowered result = graph.reshape(flat, shape);
  graph.follow(result, [&](RowFact fact) {
    return productRows(graph, fact, x.*fact, x.rank(), y.*fact, y.rank(), transposed);
  });
  return result;
}

static LogicalResult lowerMatMul(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered x = *graph.input(node, 0), y = *graph.input(node, 1);
  if (failed(checkFloat(node, &x)))
    return failure();
  bool dropRows = x.rank() == 1, dropColumns = y.rank() == 1;
  if (x.rank() == 0 || y.rank() == 0)
    return node.emitError() << describe(node) << ": a scalar has no matrix product";
  if (dropRows)
    x = graph.reshape(x, {graph.constant(1), x.shape[0]});
  if (dropColumns)
    y = graph.reshape(y, {y.shape[0], graph.constant(1)});
  Lowered result;
  if (y.rank() == 2 && y.isParameter) {
    graph.requireEqual(x.shape.back(), y.shape[0], innerSizes(node));
    result = multiplyOrLift(graph, x, packWeight(graph, y, false), y.shape[1], nullptr, y.banks);
    if (result.isLifted && !x.isLifted) {
      graph.set(node.getResult(0), std::move(result));
      return success();
    }
  } else {
    FailureOr<Lowered> product = multiplyBatches(node, graph, x, y, false);
    if (failed(product))
      return failure();
    result = *product;
  }
  SmallVector<OpFoldResult> shape(result.shape);
  if (dropColumns)
    shape.pop_back();
  if (dropRows)
    shape.erase(shape.begin() + (shape.size() - (dropColumns ? 1 : 2)));
  graph.set(node.getResult(0), graph.reshape(result, shape));
  return success();
}

static LogicalResult lowerGemm(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered x = *graph.input(node, 0), y = *graph.input(node, 1);
  Lowered *c = graph.input(node, 2);
  if (failed(checkFloat(node, &x)))
    return failure();
  if (x.rank() != 2 || y.rank() != 2)
    return node.emitError() << describe(node) << ": needs matrices";
  double alpha = floatAttr(node, "alpha", 1), beta = floatAttr(node, "beta", 1);
  bool transposeY = intAttr(node, "transB", 0);
  if (intAttr(node, "transA", 0))
    x = graph.transpose(x, {1, 0});
  Type type = x.elementType;
  // A bias over the columns starts the accumulators; any other addend follows the product.
  bool columnBias = c && c->rank() == 1 && alpha == 1 && beta == 1 && !isConstantIntValue(c->shape[0], 1) &&
                    c->banks.empty();
  Lowered result;
  if (y.isParameter) {
    OpFoldResult columns = y.shape[transposeY ? 0 : 1];
    graph.requireEqual(x.shape[1], y.shape[transposeY ? 1 : 0], innerSizes(node));
    if (columnBias)
      graph.requireEqual(c->shape[0], columns, describe(node) + ": the sizes of bias and result differ");
    result = multiplyOrLift(graph, x, packWeight(graph, y, transposeY), columns, columnBias ? c : nullptr,
                            y.banks);
  } else {
    FailureOr<Lowered> product = multiplyBatches(node, graph, x, y, transposeY);
    if (failed(product))
      return failure();
    result = *product;
    columnBias = false;
  }
  bool isLifted = result.isLifted;
  if (alpha != 1)
    result = graph.elementwise({&result}, type, [&](B &b, ArrayRef<Value> s) -> Value {
      return arith::MulFOp::create(b, s[0], scalars::constant(b, type, alpha));
    });
  if (c && !columnBias)
    result = graph.elementwise({&result, c}, type, [&](B &b, ArrayRef<Value> s) -> Value {
      Value addend = s[1];
      if (beta != 1)
        addend = arith::MulFOp::create(b, addend, scalars::constant(b, type, beta));
      return arith::AddFOp::create(b, s[0], addend);
    });
  result.isLifted = isLifted;
  graph.set(node.getResult(0), std::move(result));
  return success();
}

void adapter::addProductLowerings(LoweringTable &table) {
  table.add("MatMul", lowerMatMul);
  table.add("Gemm", lowerGemm, 7);
}
