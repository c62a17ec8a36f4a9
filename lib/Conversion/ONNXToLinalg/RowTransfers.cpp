// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The table of how operators pass on rows and tokens, as functions of attributes, constant operands and sizes. What
// it does not hold loses them.
#include "lib/Conversion/ONNXToLinalg/RowTransfers.h"
#include "llvm/ADT/StringMap.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::transfers;

namespace {
using Function = Rows (*)(const Flow &);

struct Transfer {
  Function function = nullptr;
  unsigned data = ~0u; // operands from this one on say sizes, places or weights: one for all rows
  bool moves = false;  // the result's elements are the operand's
};
} // namespace

//===----------------------------------------------------------------------===//
// Position by position, and along axes
//===----------------------------------------------------------------------===//

static Rows elementwise(const Flow &flow) { return flow.merged(); }

// Of sizes alone.
static Rows none(const Flow &) { return Rows(); }

// Positions stay, but those along the axes read each other: rows must not, tokens of a row may.
static Rows along(const Flow &flow, ArrayRef<int64_t> axes) {
  Rows rows = flow.merged();
  bool isRead = rows.isTraced() && llvm::is_contained(axes, rows.axis);
  bool stays = flow.isTokens() && GraphLowering::same(flow.out.shape[rows.axis], flow.size(0, rows.axis));
  return isRead && !stays ? flow.lost(worksAlong) : rows;
}

static SmallVector<int64_t> axesFrom(const Flow &flow, int64_t first) {
  return llvm::to_vector(llvm::seq<int64_t>(first, std::max(first, flow.in(0)->rank())));
}

static Rows softmax(const Flow &flow) {
  bool old = flow.node.getOpsetVersion() < 13;
  int64_t axis = flow.axis(old ? 1 : -1, flow.in(0)->rank());
  // Before opset 13 everything behind the axis was taken together.
  return along(flow, old ? axesFrom(flow, axis) : SmallVector<int64_t>{axis});
}

static Rows layerNorm(const Flow &flow) {
  return along(flow, axesFrom(flow, flow.axis(-1, flow.in(0)->rank())));
}

// By groups of channels, which stand in dimension 1; every channel is one of InstanceNormalization.
static Rows groupNorm(const Flow &flow) { return along(flow, axesFrom(flow, 1)); }
static Rows instanceNorm(const Flow &flow) { return along(flow, axesFrom(flow, 2)); }

static Rows batchNorm(const Flow &flow) {
  return intAttr(flow.node, "training_mode", 0) ? flow.lost(worksAlong) : flow.of(0);
}

static Rows cumSum(const Flow &flow) {
  std::optional<SmallVector<int64_t>> axis = flow.graph.constantIntegers(*flow.in(1));
  if (!axis || axis->size() != 1)
    return flow.lost(isUnknown);
  return along(flow, {axis->front() < 0 ? axis->front() + flow.in(0)->rank() : axis->front()});
}

// A triangle of the last two dimensions: what is kept depends on the place in both.
static Rows triangle(const Flow &flow) { return along(flow, axesFrom(flow, flow.in(0)->rank() - 2)); }

//===----------------------------------------------------------------------===//
// Reductions, products, windows
//===----------------------------------------------------------------------===//

static Rows reduce(const Flow &flow) {
  FailureOr<SmallVector<int64_t>> axes = reducedAxes(flow.node, flow.graph, flow.in(0)->rank());
  if (failed(axes))
    return flow.lost(isUnknown);
  return reducedRows(flow.graph, flow.of(0), *axes, intAttr(flow.node, "keepdims", 1));
}

static Rows reduceOne(const Flow &flow) {
  int64_t axis = flow.axis(0, flow.in(0)->rank());
  return reducedRows(flow.graph, flow.of(0), {axis}, intAttr(flow.node, "keepdims", 1));
}

static Rows topK(const Flow &flow) {
  return reducedRows(flow.graph, flow.of(0), {flow.axis(-1, flow.in(0)->rank())}, /*keepDims=*/true);
}

// Windows slide over what is behind the channels, and see all of these.
static Rows windows(const Flow &flow) {
  return reducedRows(flow.graph, flow.of(0), axesFrom(flow, 1), /*keepDims=*/true);
}

static Rows pooled(const Flow &flow) {
  return reducedRows(flow.graph, flow.of(0), axesFrom(flow, 2), /*keepDims=*/true);
}

static Rows matMul(const Flow &flow) {
  int64_t xRank = flow.in(0)->rank(), yRank = flow.in(1)->rank();
  Rows x = flow.of(0), y = flow.of(1);
  // A vector is a matrix of one row or one column, which the result does not have.
  if (xRank == 1 && x.isTraced())
    ++x.axis;
  Rows rows =
      productRows(flow.graph, flow.fact, x, std::max<int64_t>(xRank, 2), y, std::max<int64_t>(yRank, 2),
                  /*transposed=*/false);
  if (xRank == 1 && rows.isTraced() && rows.axis == std::max<int64_t>(yRank, 2) - 1)
    --rows.axis;
  return rows;
}

static Rows gemm(const Flow &flow) {
  Rows x = flow.of(0);
  if (x.isTraced() && intAttr(flow.node, "transA", 0))
    x.axis = 1 - x.axis;
  Lowered product;
  product.shape = flow.out.shape;
  product.*flow.fact =
      productRows(flow.graph, flow.fact, x, 2, flow.of(1), 2, intAttr(flow.node, "transB", 0));
  SmallVector<Lowered *> addends{&product};
  if (flow.of(2).isTraced())
    addends.push_back(flow.in(2));
  return flow.graph.mergeRows(flow.fact, flow.out.shape, addends);
}

//===----------------------------------------------------------------------===//
// The table
//===----------------------------------------------------------------------===//

static const llvm::StringMap<Transfer> &transferTable() {
  static const llvm::StringMap<Transfer> table = [] {
    llvm::StringMap<Transfer> made{
        {"Identity", {elementwise, ~0u, true}},
        {"Cast", {elementwise, ~0u, true}},
        {"Dropout", {elementwise, 1}},
        {"Softmax", {softmax}},
        {"LogSoftmax", {softmax}},
        {"LayerNormalization", {layerNorm}},
        {"RMSNormalization", {layerNorm}},
        {"GroupNormalization", {groupNorm, 1}},
        {"InstanceNormalization", {instanceNorm, 1}},
        {"BatchNormalization", {batchNorm, 1}},
        {"CumSum", {cumSum, 1}},
        {"Trilu", {triangle, 1}},
        {"ArgMax", {reduceOne}},
        {"ArgMin", {reduceOne}},
        {"TopK", {topK, 1}},
        {"Conv", {windows, 1}},
        {"MaxPool", {windows}},
        {"AveragePool", {windows}},
        {"GlobalAveragePool", {pooled}},
        {"GlobalMaxPool", {pooled}},
        {"MatMul", {matMul}},
        {"Gemm", {gemm}},
        {"Shape", {none, 0}},
        {"Size", {none, 0}},
        {"Constant", {none}},
        {"ConstantOfShape", {none, 0}},
        {"Range", {none, 0}},
        {"Reshape", {reshape, 1, true}},
        {"Flatten", {reshape, 1, true}},
        {"Squeeze", {reshape, 1, true}},
        {"Unsqueeze", {reshape, 1, true}},
        {"Transpose", {transpose, 1, true}},
        {"Expand", {elementwise, 1, true}},
        {"Tile", {tile, 1, true}},
        {"Concat", {concat}},
        {"Split", {split, 1, true}},
        {"Slice", {slice, 1, true}},
        {"Pad", {pad, 1}},
        {"Resize", {unlessResized, 1}},
        {"OneHot", {oneHot, 1}},
        {"Gather", {gather}},
        {"GatherElements", {gatherElements}},
        {"GatherND", {gatherND}},
        {"ScatterND", {scatterND}},
        {"ScatterElements", {scatterElements}},
        {"TensorScatter", {tensorScatter}},
    };
    for (StringRef each :
         {"Abs",         "Add",       "And",      "BitwiseAnd", "BitwiseOr", "BitwiseXor",
          "Ceil",        "Clip",      "Cos",      "Div",        "Elu",       "Equal",
          "Erf",         "Exp",       "Floor",    "Gelu",       "Greater",   "GreaterOrEqual",
          "HardSigmoid", "HardSwish", "IsInf",    "IsNaN",      "LeakyRelu", "Less",
          "LessOrEqual", "Log",       "Max",      "Min",        "Mish",      "Mod",
          "Mul",         "Neg",       "Not",      "Or",         "PRelu",     "Pow",
          "Reciprocal",  "Relu",      "Round",    "Selu",       "Sigmoid",   "Sign",
          "Sin",         "Softplus",  "Softsign", "Sqrt",       "Sub",       "Sum",
          "Swish",       "Tanh",      "Where",    "Xor"})
      made[each] = {elementwise};
    for (StringRef each : {"L1", "L2", "LogSum", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"})
      made[("Reduce" + each).str()] = {reduce, 1};
    return made;
  }();
  return table;
}

static Transfer transferOf(onnxir::NodeOp node) {
  bool isOnnx = node.getDomain().empty() || node.getDomain() == "ai.onnx";
  return isOnnx ? transferTable().lookup(node.getOpType()) : Transfer();
}

bool adapter::isElementwise(onnxir::NodeOp node) {
  Transfer transfer = transferOf(node);
  return transfer.function == elementwise && node.getOpType() != "Expand";
}

static Rows rowsOf(const Flow &flow, const Transfer &transfer) {
  if (transfer.function == none && (flow.node.getOpType() == "Shape" || flow.node.getOpType() == "Size"))
    return Rows();
  bool isTraced = false, isShared = false;
  Rows lost;
  for (unsigned i = 0; i < flow.node.getInputs().size(); ++i) {
    Lowered *operand = flow.in(i);
    Rows rows = operand ? operand->*flow.fact : Rows();
    if (rows.kind == Rows::Lost && lost.kind != Rows::Lost)
      lost = rows;
    isTraced |= rows.isTraced() && i < transfer.data;
    isShared |= rows.isTraced() && i >= transfer.data;
  }
  if (lost.kind == Rows::Lost && (!isTraced || !flow.isTokens()))
    return lost;
  if (isShared && (!isTraced || !flow.isTokens()))
    return flow.lost(sharesThem);
  if (!isTraced)
    return Rows();
  return transfer.function ? transfer.function(flow) : flow.lost(isUnknown);
}

// Exporters write x[rows, places] with rows counted 0, 1, ..., or with the flat index rows * length + places: indices
// by which each row reads itself.
static void traceIndices(onnxir::NodeOp node, GraphLowering &graph, const Transfer &transfer,
                         const Lowered &result, Provenance &made) {
  Flow flow{node, graph, &Provenance::numbers, result, 0};
  auto isConstant = [&](unsigned index, int64_t wanted) {
    auto known = graph.constantIntegers(*flow.in(index));
    return known && known->size() == 1 && known->front() == wanted;
  };
  StringRef type = node.getOpType();
  auto integer = dyn_cast<IntegerType>(result.elementType);
  if (!graph.rowCount || !transfer.function || !integer || integer.getWidth() < 32)
    return;
  if (transfer.moves) {
    made.numbers = rowsOf(flow, transfer);
    made.stride = flow.in(0)->stride;
    made.below = flow.in(0)->below;
  } else if (type == "Range" && isConstant(0, 0) && isConstant(2, 1)) {
    made.below = result.shape[0];
    if (GraphLowering::same(result.shape[0], graph.rowCount))
      made.numbers = Rows::at(0);
  } else if (type == "Gather" || type == "GatherElements" || type == "GatherND") {
    made.below = flow.in(0)->below;
  } else if (type == "ArgMax" || type == "ArgMin") {
    made.below = flow.size(0, flow.axis(0, flow.in(0)->rank()));
  } else if (type == "Mul" || type == "Add") {
    for (unsigned side : {0u, 1u}) {
      Lowered *numbers = flow.in(side), *other = flow.in(1 - side);
      if (!numbers->numbers.isTraced() || other->numbers.isTraced())
        continue;
      OpFoldResult stride = numbers->stride ? numbers->stride : graph.constant(1);
      std::optional<SmallVector<OpFoldResult>> factor = graph.elementsAsIndex(*other);
      if (type == "Add" ? other->below && GraphLowering::same(other->below, stride)
                        : factor && factor->size() == 1) {
        made.numbers = flow.merged();
        made.stride = type == "Add" ? stride : graph.product({stride, factor->front()});
      }
    }
  }
}

void adapter::traceResults(onnxir::NodeOp node, GraphLowering &graph) {
  Transfer transfer = transferOf(node);
  for (auto [number, result] : llvm::enumerate(node.getResults())) {
    // A value that begins to differ by row here has said so itself.
    if (!graph.has(result) || graph.get(result).isLifted)
      continue;
    Lowered &lowered = graph.get(result);
    Provenance made;
    SmallVector<std::pair<RowFact, OpFoldResult>> facts{{&Provenance::rows, graph.rowCount}};
    if (graph.tracesTokens)
      facts.emplace_back(&Provenance::tokens, graph.tokenCount);
    for (auto [fact, count] : facts) {
      Flow flow{node, graph, fact, lowered, static_cast<unsigned>(number)};
      Rows rows = rowsOf(flow, transfer);
      // One row is kept apart from no other.
      bool isOnly = rows.kind == Rows::Lost && count && isConstantIntValue(count, 1) && lowered.rank() > 0;
      made.*fact = isOnly ? Rows::at(0) : rows;
    }
    traceIndices(node, graph, transfer, lowered, made);
    lowered.setProvenance(made);
  }
}
