// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Routers become scores and a top-k; experts become a dispatch, two grouped products with packed weights, what is
// between them, and a combine.
#include "lib/Conversion/ONNXToLinalg/Experts.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "lib/Conversion/ONNXToLinalg/RowFunctions.h"
#include "lib/Conversion/ONNXToLinalg/Scalars.h"
#include "lib/Support/Activations.h"
#include "lib/Support/ExpertLayers.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

// Divided by the sum over the last dimension.
static Lowered normalise(GraphLowering &graph, Lowered &x) {
  Value zero = scalars::constant(graph.b, x.elementType, 0);
  Lowered sum = graph.reduce(x, {1}, /*keepDims=*/true, zero, [](B &b, Value element, Value sum) {
    return scalars::accumulate(b, element, sum);
  });
  return graph.elementwise({&x, &sum}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
    return arith::DivFOp::create(b, s[0], s[1]);
  });
}

static Lowered score(GraphLowering &graph, Lowered &x, RouterScore function) {
  if (function == RouterScore::Softmax)
    return softmax(graph, x, 1);
  if (function == RouterScore::None)
    return x;
  return graph.elementwise({&x}, x.elementType, [](B &b, ArrayRef<Value> s) -> Value {
    return ScalarArithmetic(b).sigmoid(s[0]);
  });
}

LogicalResult adapter::lowerRoute(RouteOp op, GraphLowering &graph) {
  Lowered logits = graph.get(op.getLogits());
  if (!isa<FloatType>(logits.elementType))
    return op.emitError("needs logits that are floating-point numbers");
  if (!op.isSparse() || op.getNullExperts() || op.getSharedExperts() ||
      !op.getTemperature().isExactlyValue(1.0) || logits.rank() != 2)
    return op.emitError("is compiled as nodes; write it so with adapter-expand-mixtures");
  if (op.getScope() != RouterScope::Token)
    return op.emitError() << "routers over a " << stringifyRouterScope(op.getScope())
                          << " are not supported in compiled code";
  bool isScoreFirst = op.getOrder() == RouterOrder::ScoreFirst;
  Lowered scores = isScoreFirst ? score(graph, logits, op.getScore()) : logits;
  if (op.getNormalise() == RouterNormalise::Before)
    scores = normalise(graph, scores);
  auto [weights, ids] = topK(graph, scores, graph.constant(op.getChosen()));
  if (!isScoreFirst)
    weights = score(graph, weights, op.getScore());
  if (op.getNormalise() == RouterNormalise::After)
    weights = normalise(graph, weights);
  graph.set(op.getWeights(), std::move(weights));
  graph.set(op.getIds(), std::move(ids));
  return success();
}

// What each expert has, in another order of experts.
static Lowered reorder(GraphLowering &graph, Lowered &of, ArrayRef<int64_t> order) {
  if (llvm::is_sorted(order))
    return of;
  auto type = RankedTensorType::get({static_cast<int64_t>(order.size())}, graph.b.getIndexType());
  SmallVector<APInt> numbers;
  for (int64_t expert : order)
    numbers.emplace_back(64, expert);
  Value table = arith::ConstantOp::create(graph.b, DenseElementsAttr::get(type, numbers));
  Value source = graph.tensor(of);
  Lowered moved = graph.generate(of.shape, of.elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    SmallVector<Value> from(at);
    from[0] = tensor::ExtractOp::create(b, table, at[0]);
    return tensor::ExtractOp::create(b, source, from);
  });
  moved.isParameter = of.isParameter;
  return moved;
}

// Weights of all experts, [experts, n, k] or transposed, packed each on its own.
static Value packExperts(GraphLowering &graph, Lowered &weight, bool transposed) {
  OpFoldResult depth = weight.shape[transposed ? 1 : 2], columns = weight.shape[transposed ? 2 : 1];
  OpFoldResult block = graph.constant(graph.columnBlock);
  OpFoldResult blocks = graph.divide(graph.add(columns, graph.constant(graph.columnBlock - 1)), block);
  Value init = graph.empty({weight.shape[0], blocks, depth, block}, weight.elementType);
  return kernel::PackOp::create(graph.b, init.getType(), graph.tensor(weight), init, !transposed)
      .getResult(0);
}

// What is between the products, on [rows, width] or, gated, [rows, 2 width].
static Lowered activateRows(GraphLowering &graph, Lowered &x, checkpoint::Activation function, bool gated) {
  if (!gated)
    return graph.elementwise({&x}, x.elementType,
                             [&](B &b, ArrayRef<Value> s) -> Value { return activate(b, function, s[0]); });
  OpFoldResult half = graph.divide(x.shape[1], graph.constant(2));
  Value source = graph.tensor(x), width = graph.value(half);
  return graph.generate({x.shape[0], half}, x.elementType, [&](B &b, ArrayRef<Value> at) -> Value {
    Value gate = tensor::ExtractOp::create(b, source, at);
    Value upper = arith::AddIOp::create(b, at[1], width);
    Value up = tensor::ExtractOp::create(b, source, ValueRange{at[0], upper});
    return arith::MulFOp::create(b, activate(b, function, gate), up);
  });
}

// In one process: the tokens of each expert are brought together, multiplied and summed.
static Value lowerHere(ExpertsOp op, GraphLowering &graph, RunExperts run) {
  B &b = graph.b;
  Lowered &x = graph.get(op.getInput()), &ids = graph.get(op.getIds()), &weights = graph.get(op.getWeights());
  Lowered &up = graph.get(op.getUp()), &down = graph.get(op.getDown());
  OpFoldResult upIn = up.shape[op.getTransposed() ? 1 : 2], downOut = down.shape[op.getTransposed() ? 2 : 1];
  OpFoldResult pairs = graph.mul(ids.shape[0], ids.shape[1]), count = up.shape[0];
  Type i64 = b.getI64Type();
  StringAttr layer, identity;
  if (std::optional<ExpertLayer> known = expertLayerOf(op)) {
    layer = b.getStringAttr(known->name);
    identity = b.getStringAttr(known->identity);
  }
  Value places = graph.empty(ids.shape, i64), tokens = graph.empty({pairs}, i64);
  Value offsets = graph.empty({graph.add(count, graph.constant(1))}, i64);
  auto dispatch = kernel::DispatchOp::create(
      b, TypeRange{places.getType(), tokens.getType(), offsets.getType()}, graph.tensor(ids), places, tokens,
      offsets, b.getStringAttr("experts"), layer, identity, /*number=*/IntegerAttr());
  Value init = graph.empty({pairs, upIn}, x.elementType);
  Value gathered =
      kernel::GatherRowsOp::create(b, init.getType(), graph.tensor(x), dispatch.getResult(1), init)
          .getResult(0);
  Value products = run(gathered, pairs, dispatch.getResult(2));
  init = graph.empty({x.shape[0], downOut}, x.elementType);
  return kernel::CombineOp::create(b, init.getType(), products, dispatch.getResult(0), graph.tensor(weights),
                                   init)
      .getResult(0);
}

LogicalResult adapter::lowerExperts(ExpertsOp op, GraphLowering &graph) {
  B &b = graph.b;
  Lowered &x = graph.get(op.getInput()), &ids = graph.get(op.getIds()), &weights = graph.get(op.getWeights());
  Lowered &up = graph.get(op.getUp()), &down = graph.get(op.getDown());
  SmallVector<Lowered *> parameters{&up, &down}, numbers{&x, &weights, &up, &down};
  if (op.getBias()) {
    parameters.push_back(&graph.get(op.getBias()));
    numbers.push_back(parameters.back());
  }
  for (Lowered *value : numbers)
    if (!value->elementType.isF32())
      return op.emitError() << "experts are compiled for f32 only, not for " << value->elementType;
  for (Lowered *value : parameters)
    for (int64_t bank : value->banks)
      graph.refuse(bank, "the weights of experts cannot differ by call; bind the adapter at build");
  // Sizes that the op's types leave open.
  bool transposed = op.getTransposed();
  OpFoldResult upOut = up.shape[transposed ? 2 : 1], upIn = up.shape[transposed ? 1 : 2];
  OpFoldResult downOut = down.shape[transposed ? 2 : 1], downIn = down.shape[transposed ? 1 : 2];
  OpFoldResult inner = op.getGated() ? graph.divide(upOut, graph.constant(2)) : upOut;
  graph.requireEqual(x.shape[0], ids.shape[0], "experts: there are ids for another number of tokens");
  graph.requireEqual(x.shape[0], weights.shape[0], "experts: there are weights for another number of tokens");
  graph.requireEqual(ids.shape[1], weights.shape[1],
                     "experts: the numbers of ids and weights of a token differ");
  graph.requireEqual(x.shape[1], upIn, "experts: the input has another width than the experts");
  graph.requireEqual(inner, downIn, "experts: the sizes of the two products differ");
  graph.requireEqual(up.shape[0], down.shape[0], "experts: the two products have other numbers of experts");

  SmallVector<int64_t> order = expertOrder(op);
  auto multiply = [&](Value rows, Lowered &weight, Value bias, Value offsets, OpFoldResult count,
                      OpFoldResult columns) {
    Value init = graph.empty({count, columns}, x.elementType);
    Lowered ordered = reorder(graph, weight, order);
    Value packed = packExperts(graph, ordered, transposed);
    return kernel::GroupedLinearOp::create(b, init.getType(), rows, packed, offsets, bias, init).getResult(0);
  };
  auto run = [&](Value rows, OpFoldResult count, Value offsets) {
    Value bias;
    if (op.getBias()) {
      Lowered ordered = reorder(graph, graph.get(op.getBias()), order);
      bias = graph.tensor(ordered);
    }
    Lowered wide = graph.wrap(multiply(rows, up, bias, offsets, count, upOut), {count, upOut});
    Lowered active = activateRows(graph, wide, op.getActivation(), op.getGated());
    return multiply(graph.tensor(active), down, Value(), offsets, count, downOut);
  };
  Value sum =
      op.getRanks().value_or(1) > 1 ? lowerPartitionedExperts(op, graph, run) : lowerHere(op, graph, run);
  Lowered result = graph.wrap(sum, {x.shape[0], downOut});
  graph.follow(result, [&](RowFact fact) {
    Rows rows = graph.mergeRows(fact, result.shape, {&x, &ids, &weights});
    return rows.isTraced() && rows.axis ? Rows::lost(op, worksAlong) : rows;
  });
  graph.set(op.getResult(), std::move(result));
  return success();
}
