// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Values that the graph has once for all rows, behind a node whose adapter differs by row: projections of relative
// positions, tables of position embeddings. Such a value gets the rows as a first dimension that the graph knows
// nothing of. Nodes that treat every element alike, or only move them, work on all rows at once; where the graph
// repeats or broadcasts the value for its batch, the first dimension becomes the one that the graph means.
#include "lib/Conversion/ONNXToLinalg/Provenance.h"
#include "llvm/ADT/ScopeExit.h"

using namespace mlir;
using namespace adapter;
using B = ImplicitLocOpBuilder;

bool GraphLowering::startsRows(const Lowered &x, ArrayRef<int64_t> numbers) {
  return rowCount && x.rows.kind == Rows::None &&
         llvm::any_of(numbers, [&](int64_t bank) { return banks[bank].perRow && !banks[bank].spare; });
}

Lowered GraphLowering::lift(Lowered &x) {
  SmallVector<OpFoldResult> shape{rowCount};
  llvm::append_range(shape, x.shape);
  Lowered result = broadcastTo(x, shape);
  result.rows = Rows::at(0);
  result.isLifted = true;
  return result;
}

namespace {
class LiftedNode {
public:
  LiftedNode(onnxir::NodeOp node, GraphLowering &graph, LowerNodeFunction lower)
      : node(node), graph(graph), lower(lower), x(*graph.input(node, 0)) {}

  LogicalResult run();

private:
  LogicalResult refuse() {
    return node.emitError() << describe(node)
                            << ": a value is one for all rows, and an adapter changes it by row; bind the "
                               "adapter at build, switch or call";
  }
  /// The sizes that the graph knows.
  static ArrayRef<OpFoldResult> own(const Lowered &value) { return ArrayRef(value.shape).drop_front(); }
  int64_t rank() const { return x.rank() - 1; }
  bool isOne(OpFoldResult size) const { return isConstantIntValue(size, 1); }

  Lowered shaped(Lowered &value, ArrayRef<OpFoldResult> shape, int64_t axis, bool isLifted);
  std::optional<Lowered> besideRows(Lowered &value, const Lowered &data);
  LogicalResult lowerAs(onnxir::NodeOp changed, bool isLifted);
  LogicalResult lowerWith(StringRef attribute, Attribute value);
  LogicalResult lowerTogether();
  LogicalResult lowerMoved(unsigned operand, OpFoldResult first);
  LogicalResult lowerRepeated();

  onnxir::NodeOp node;
  GraphLowering &graph;
  LowerNodeFunction lower;
  Lowered x;
};
} // namespace

// The elements of a lifted value in another shape, whose dimension `axis` has the rows.
Lowered LiftedNode::shaped(Lowered &value, ArrayRef<OpFoldResult> shape, int64_t axis, bool isLifted) {
  Lowered result = graph.reshape(value, shape);
  result.rows = Rows::at(axis);
  result.isLifted = isLifted;
  return result;
}

// A lifted value as it stands beside one whose rows the graph has: what was broadcast along that dimension is not.
std::optional<Lowered> LiftedNode::besideRows(Lowered &value, const Lowered &data) {
  // The dimensions that a product sums or makes are none that it broadcasts.
  int64_t fromEnd = data.rank() - data.rows.axis, summed = node.getOpType() == "MatMul" ? 2 : 0;
  int64_t place = own(value).size() - fromEnd;
  if (fromEnd <= summed || data.rows.outer ||
      !GraphLowering::same(data.shape[data.rows.axis], graph.rowCount) ||
      !llvm::all_of(own(value).take_front(std::max<int64_t>(place + 1, 0)),
                    [&](OpFoldResult size) { return isOne(size); }))
    return std::nullopt;
  SmallVector<OpFoldResult> shape{graph.rowCount};
  for (int64_t more = place + 1; more < 0; ++more)
    shape.push_back(graph.constant(1));
  llvm::append_range(shape, own(value).drop_front(std::max<int64_t>(place + 1, 0)));
  return shaped(value, shape, 0, /*isLifted=*/false);
}

// Lowers `changed`, a copy of the node or the node itself, as this node.
LogicalResult LiftedNode::lowerAs(onnxir::NodeOp changed, bool isLifted) {
  if (failed(lower(changed, graph)))
    return failure();
  traceResults(changed, graph);
  for (auto [result, made] : llvm::zip(node.getResults(), changed.getResults())) {
    if (!graph.has(made))
      continue;
    Lowered lowered = graph.get(made);
    bool isFirst = lowered.rows == Rows::at(0) || lowered.rows.kind == Rows::None;
    if (isLifted && !(isFirst && GraphLowering::same(lowered.shape[0], graph.rowCount)))
      return refuse();
    if (isLifted)
      lowered.rows = Rows::at(0);
    lowered.isLifted = isLifted;
    graph.set(result, std::move(lowered));
  }
  return success();
}

LogicalResult LiftedNode::lowerWith(StringRef attribute, Attribute value) {
  OpBuilder at(node);
  auto changed = cast<onnxir::NodeOp>(at.clone(*node));
  auto erase = llvm::make_scope_exit([&] { changed.erase(); });
  NamedAttrList attributes(changed.getNodeAttributes());
  attributes.set(attribute, value);
  changed.setNodeAttributesAttr(attributes.getDictionary(node.getContext()));
  return lowerAs(changed, /*isLifted=*/true);
}

// Operators that broadcast: beside data with rows the lifted values take their places, among themselves and beside
// what is the same for all rows they stay lifted.
LogicalResult LiftedNode::lowerTogether() {
  std::map<unsigned, Lowered> before;
  auto restore = llvm::make_scope_exit([&] {
    for (auto &[operand, value] : before)
      graph.set(node.getInputs()[operand], value);
  });
  const Lowered *data = nullptr;
  int64_t highest = 0;
  for (unsigned i = 0; i < node.getInputs().size(); ++i) {
    Lowered *input = graph.input(node, i);
    if (!input)
      continue;
    bool isMatrix = !input->isLifted || own(*input).size() > 1;
    if (node.getOpType() == "MatMul" && !isMatrix)
      return refuse();
    if (input->isLifted)
      before[i] = *input;
    else if (input->rows.kind == Rows::Lost)
      return refuse();
    else if (input->rows.isTraced())
      data = input;
    highest = std::max(highest, input->rank() - input->isLifted);
  }
  std::optional<Lowered> beside = data ? std::optional(*data) : std::nullopt;
  for (auto &[operand, value] : before) {
    std::optional<Lowered> placed;
    if (beside) {
      placed = besideRows(value, *beside);
    } else {
      SmallVector<OpFoldResult> shape{graph.rowCount};
      shape.append(highest - own(value).size(), graph.constant(1));
      llvm::append_range(shape, own(value));
      placed = shaped(value, shape, 0, /*isLifted=*/true);
    }
    if (!placed)
      return refuse();
    graph.set(node.getInputs()[operand], *placed);
  }
  return lowerAs(node, /*isLifted=*/!beside);
}

// Operators whose second operand says something of each dimension: `first` is that of the rows.
LogicalResult LiftedNode::lowerMoved(unsigned operand, OpFoldResult first) {
  Lowered sizes = *graph.input(node, operand);
  std::optional<SmallVector<OpFoldResult>> known = graph.elementsAsIndex(sizes);
  if (!known || sizes.isLifted)
    return refuse();
  SmallVector<Value> elements{graph.value(first)};
  for (OpFoldResult size : *known)
    elements.push_back(graph.value(size));
  auto restore = llvm::make_scope_exit([&] { graph.set(node.getInputs()[operand], sizes); });
  graph.set(node.getInputs()[operand],
            graph.wrapElements(elements, {static_cast<int64_t>(elements.size())}, sizes.elementType));
  return lowerAs(node, /*isLifted=*/true);
}

// Tile and Expand: where the graph repeats the value for its rows, each gets its own.
LogicalResult LiftedNode::lowerRepeated() {
  bool isTile = node.getOpType() == "Tile";
  Lowered *operand = graph.input(node, 1);
  graph.loadElements(*operand);
  std::optional<SmallVector<OpFoldResult>> wanted = graph.elementsAsIndex(*operand);
  if (!wanted || static_cast<int64_t>(wanted->size()) < rank())
    return refuse();
  int64_t added = wanted->size() - rank();
  SmallVector<OpFoldResult> padded(added, graph.constant(1)), counts, sizes;
  llvm::append_range(padded, own(x));
  int64_t rowsAxis = -1;
  for (auto [dim, size] : llvm::enumerate(padded)) {
    OpFoldResult given = (*wanted)[dim];
    bool stays = isTile ? isOne(given) : (isOne(given) || GraphLowering::same(given, size));
    std::optional<OpFoldResult> more = graph.exactQuotient({given}, {graph.rowCount});
    bool isRows = more && isOne(*more) && (isTile || isOne(size));
    // All that stands before is 1, so that rows and this dimension lie as the graph means them.
    bool inFront = llvm::all_of(ArrayRef(padded).take_front(dim), [&](OpFoldResult s) { return isOne(s); });
    if (!stays && isRows && inFront && rowsAxis < 0)
      rowsAxis = dim;
    else if (!stays)
      return refuse();
    sizes.push_back(static_cast<int64_t>(dim) == rowsAxis ? graph.mul(graph.rowCount, size) : size);
  }
  if (rowsAxis >= 0) {
    graph.set(node.getResult(0), shaped(x, sizes, rowsAxis, /*isLifted=*/false));
    return success();
  }
  sizes.insert(sizes.begin(), graph.rowCount);
  graph.set(node.getResult(0), shaped(x, sizes, 0, /*isLifted=*/true));
  return success();
}

LogicalResult LiftedNode::run() {
  StringRef type = node.getOpType();
  Builder builder(node.getContext());
  if (!node.getDomain().empty())
    return refuse();
  if (isElementwise(node) || type == "MatMul")
    return lowerTogether();
  if (!x.isLifted)
    return refuse();
  if (type == "Shape" || type == "Size") {
    Lowered seen = x;
    seen.shape.erase(seen.shape.begin());
    auto restore = llvm::make_scope_exit([&] { graph.set(node.getInputs()[0], x); });
    graph.set(node.getInputs()[0], seen);
    return lower(node, graph);
  }
  if (type == "Transpose") {
    SmallVector<int64_t> order = llvm::to_vector(llvm::reverse(llvm::seq<int64_t>(0, rank())));
    if (auto given = intsAttr(node, "perm"))
      order = *given;
    for (int64_t &dim : order)
      ++dim;
    order.insert(order.begin(), 0);
    return lowerWith("perm", builder.getDenseI64ArrayAttr(order));
  }
  if (type == "LayerNormalization" || type == "RMSNormalization" || type == "Softmax" ||
      type == "LogSoftmax") {
    // Before version 13 Softmax takes everything behind its axis together; -1 is the same for both.
    int64_t axis = intAttr(node, "axis", node.getOpsetVersion() < 13 && type.ends_with("Softmax") ? 1 : -1);
    return lowerWith("axis", builder.getI64IntegerAttr(axis < 0 ? axis : axis + 1));
  }
  if (type == "Reshape") {
    graph.loadElements(*graph.input(node, 1));
    return lowerMoved(1, graph.rowCount);
  }
  if (type == "Tile" || type == "Expand")
    return lowerRepeated();
  return refuse();
}

LogicalResult adapter::lowerLifted(onnxir::NodeOp node, GraphLowering &graph, LowerNodeFunction lower) {
  return LiftedNode(node, graph, lower).run();
}
