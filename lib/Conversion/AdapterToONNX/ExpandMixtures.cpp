// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-expand-mixtures: each linear whose update is a mixture becomes its product and, beside it, what the mixture
// adds. Written densely, all ranks are multiplied and those of experts that were not chosen meet a gate of 0; grouped,
// positions are sorted by expert and only the chosen ones are multiplied.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Mixture.h"
#include "lib/Conversion/AdapterToONNX/ExpandRoutes.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/NodeBuilder.h"
#include "lib/Support/ParameterStore.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/IR/Matchers.h"
#include <algorithm>
#include <cstring>

namespace adapter {
#define GEN_PASS_DEF_EXPANDMIXTURESPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using checkpoint::Tensor;

namespace {
// A mixture behind what stands between it and its reader.
struct Part {
  MixOp mix;
  double scale = 1;
  std::string name; // that keys of its tensors begin with
};

class LinearExpander {
public:
  LinearExpander(LinearOp op, const std::string &name, bool mayGroup)
      : op(op), builder(op), b(builder, op.getLoc(), name + "/mixture", "expanded"), name(name),
        mayGroup(mayGroup) {}
  LogicalResult run(unsigned &numGrouped);

private:
  LogicalResult collect(Value update, double scale, bool transposed);
  Value base();
  Value dense(Part part, LowRankOp factors);
  Value gatesByRank(Part part);
  bool shouldGroup(Part part, LowRankOp factors);
  Value grouped(Part part, LowRankOp factors);
  Value padded(Part part, Value factor, bool isUp);

  LinearOp op;
  OpBuilder builder;
  NodeBuilder b;
  std::string name;
  bool mayGroup;
  SmallVector<Part> parts;
};
} // namespace

static const Tensor *contentsOf(Value value) {
  auto parameter = value.getDefiningOp<ParameterOp>();
  return parameter
             ? ParameterStore::get(parameter.getContext()).lookup(parameter.getScope(), parameter.getKey())
             : nullptr;
}

// The mixtures that an update is the sum of.
LogicalResult LinearExpander::collect(Value update, double scale, bool transposed) {
  Operation *source = update.getDefiningOp();
  if (auto turn = dyn_cast_or_null<TransposeOp>(source))
    return collect(turn.getSource(), scale, !transposed);
  if (auto sum = dyn_cast_or_null<SumOp>(source)) {
    for (Value each : sum.getSources())
      if (failed(collect(each, scale, transposed)))
        return failure();
    return success();
  }
  if (auto scaled = dyn_cast_or_null<ScaleOp>(source)) {
    FloatAttr factor;
    if (!matchPattern(scaled.getFactor(), m_Constant(&factor)))
      return op.emitOpError("has a mixture whose scale is not known at build");
    return collect(scaled.getSource(), scale * factor.getValueAsDouble(), transposed);
  }
  auto mix = dyn_cast_or_null<MixOp>(source);
  if (!mix)
    return op.emitOpError(
        "has an update that is no mixture, nor a sum of some; adapter.materialize takes it");
  // The factors are [rank, in] and [out, rank], the weight is [in, out] unless it says so.
  if (transposed == op.getTransposeWeight())
    return op.emitOpError("has a mixture of another layout than its weight");
  parts.push_back({mix, scale, name + (parts.empty() ? "" : "." + std::to_string(parts.size()))});
  return success();
}

// The product without the mixture: the node that there was, or one like it.
Value LinearExpander::base() {
  SmallVector<Value> inputs = {op.getInput(), op.getWeight()};
  if (op.getBias())
    inputs.push_back(op.getBias());
  if (DictionaryAttr said = op.getNodeAttr()) {
    OperationState state(op.getLoc(), onnxir::NodeOp::getOperationName());
    state.addOperands(inputs);
    state.addTypes(op.getResult().getType());
    state.addAttributes(said.getValue());
    return builder.create(state)->getResult(0);
  }
  Value weight = op.getTransposeWeight() ? b.transposed(op.getWeight()) : op.getWeight();
  Value result = b.node("MatMul", {op.getInput(), weight}, op.getResult().getType());
  return op.getBias() ? b.node("Add", {result, op.getBias()}) : result;
}

//===----------------------------------------------------------------------===//
// All ranks
//===----------------------------------------------------------------------===//

// The gate of each rank: [..., rank] of [..., experts] or of the chosen ones.
Value LinearExpander::gatesByRank(Part part) {
  MixOp mix = part.mix;
  ArrayRef<int64_t> blocks = mix.getBlocks();
  bool isWhole = !mix.getIds() && llvm::all_of(blocks, [](int64_t block) { return block == 1; });
  if (isWhole)
    return mix.getWeights();
  SmallVector<int64_t> expertOf;
  for (auto [expert, block] : llvm::enumerate(blocks))
    expertOf.append(block, static_cast<int64_t>(expert));
  int64_t rank = expertOf.size();
  Tensor table = checkpoint::allocateTensor(checkpoint::DType::I64, {rank});
  std::memcpy(checkpoint::mutableData(table), expertOf.data(), rank * sizeof(int64_t));
  table.key = part.name + ".blocks";
  Value experts = b.parameter(table.key, table);
  Value weights = mix.getWeights(), ids = mix.getIds();
  Type type = withWidth(weights.getType(), rank);
  if (!ids)
    return b.node("Gather", {weights, experts}, type,
                  NamedAttribute(builder.getStringAttr("axis"), builder.getI64IntegerAttr(-1)));
  // A column for each choice against a row of ranks; at most one choice of a position is that of a rank.
  auto columns = [&](Value like, int64_t width, Type element) -> Type {
    auto known = dyn_cast<RankedTensorType>(like.getType());
    if (!known)
      return UnrankedTensorType::get(element);
    SmallVector<int64_t> shape(known.getShape());
    shape.push_back(width);
    return RankedTensorType::get(shape, element);
  };
  Type element = elementTypeOf(weights);
  Value last = b.integers({-1});
  Value idColumn = b.node("Unsqueeze", {ids, last}, columns(ids, 1, builder.getI64Type()));
  Value weightColumn = b.node("Unsqueeze", {weights, last}, columns(weights, 1, element));
  Value isOf = b.node("Equal", {idColumn, experts}, columns(ids, rank, builder.getI1Type()));
  Value gates =
      b.node("Where", {isOf, weightColumn, b.constant(0.0, weights)}, columns(weights, rank, element));
  NamedAttribute keep(builder.getStringAttr("keepdims"), builder.getI64IntegerAttr(0));
  return b.node("ReduceSum", {gates, b.integers({-2})}, type, keep);
}

Value LinearExpander::dense(Part part, LowRankOp factors) {
  Value narrow = b.product(op.getInput(), b.transposed(factors.getA()));
  if (factors.getMiddle())
    narrow = b.node("Mul", {narrow, factors.getMiddle()});
  narrow = b.node("Mul", {narrow, gatesByRank(part)});
  return b.product(narrow, b.transposed(factors.getB()));
}

//===----------------------------------------------------------------------===//
// Chosen experts alone
//===----------------------------------------------------------------------===//

bool LinearExpander::shouldGroup(Part part, LowRankOp factors) {
  auto route = part.mix.getIds() ? part.mix.getIds().getDefiningOp<RouteOp>() : RouteOp();
  const Tensor *a = contentsOf(factors.getA()), *b = contentsOf(factors.getB());
  if (!mayGroup || !route || route.getScope() != RouterScope::Token || !a || !b || factors.getMiddle() ||
      a->dtype != checkpoint::DType::F32 || b->dtype != checkpoint::DType::F32)
    return false;
  ArrayRef<int64_t> blocks = part.mix.getBlocks();
  return checkpoint::mixtureCost(std::vector<int64_t>(blocks.begin(), blocks.end()),
                                 route.getSharedExperts() + route.getChosen(), a->shape[1], b->shape[0])
      .isGrouped();
}

// Of A the rows of each expert, [experts, rank, in]; of B the columns, [experts, out, rank]; 0 behind their end.
Value LinearExpander::padded(Part part, Value factor, bool isUp) {
  const Tensor &all = *contentsOf(factor);
  ArrayRef<int64_t> blocks = part.mix.getBlocks();
  int64_t rank = *std::max_element(blocks.begin(), blocks.end()), count = blocks.size();
  int64_t total = all.shape[isUp ? 0 : 1], width = all.shape[isUp ? 1 : 0];
  Tensor result =
      checkpoint::allocateTensor(checkpoint::DType::F32, isUp ? std::vector<int64_t>{count, rank, width}
                                                              : std::vector<int64_t>{count, width, rank});
  auto *to = reinterpret_cast<float *>(checkpoint::mutableData(result));
  const auto *from = reinterpret_cast<const float *>(all.data);
  std::fill(to, to + result.elements(), 0.0f);
  int64_t offset = 0;
  for (int64_t e = 0; e < count; offset += blocks[e++])
    for (int64_t r = 0; r < blocks[e]; ++r)
      for (int64_t i = 0; i < width; ++i)
        if (isUp)
          to[(e * rank + r) * width + i] = from[(offset + r) * width + i];
        else
          to[(e * width + i) * rank + r] = from[i * total + offset + r];
  result.key = part.name + (isUp ? ".up" : ".down");
  return b.parameter(result.key, result);
}

Value LinearExpander::grouped(Part part, LowRankOp factors) {
  MixOp mix = part.mix;
  auto route = mix.getIds().getDefiningOp<RouteOp>();
  auto flat = [&](Value value, int64_t width) {
    Type type = RankedTensorType::get({ShapedType::kDynamic, width}, elementTypeOf(value));
    return b.node("Reshape", {value, b.integers({-1, width})}, type);
  };
  int64_t in = contentsOf(factors.getA())->shape[1], out = contentsOf(factors.getB())->shape[0];
  int64_t chosen = route.getSharedExperts() + route.getChosen();
  Value ids = mix.getIds();
  // A null expert has weight 0, and is none; any other takes its place.
  if (route.getNullExperts())
    ids = b.node("Min", {ids, b.integers({static_cast<int64_t>(mix.getBlocks().size()) - 1})});
  Value x = flat(op.getInput(), in);
  Type type = RankedTensorType::get({ShapedType::kDynamic, out}, elementTypeOf(x));
  Value sum =
      ExpertsOp::create(builder, op.getLoc(), type, x, flat(ids, chosen), flat(mix.getWeights(), chosen),
                        padded(part, factors.getA(), true), padded(part, factors.getB(), false),
                        checkpoint::Activation::Identity, /*gated=*/false, /*transposed=*/false);
  Type sizes = RankedTensorType::get({ShapedType::kDynamic}, builder.getI64Type());
  Value shape = b.node("Shape", op.getInput(), sizes);
  Value rows = b.node("Slice", {shape, b.integers({0}), b.integers({-1})}, sizes);
  Value whole = b.node("Concat", {rows, b.integers({out})}, sizes,
                       NamedAttribute(builder.getStringAttr("axis"), builder.getI64IntegerAttr(0)));
  return b.node("Reshape", {sum, whole}, op.getResult().getType());
}

LogicalResult LinearExpander::run(unsigned &numGrouped) {
  if (failed(collect(op.getUpdate(), 1.0, false)))
    return failure();
  Value result = base();
  for (const Part &part : parts) {
    MixOp mix = part.mix;
    auto factors = mix.getSource().getDefiningOp<LowRankOp>();
    if (!factors)
      continue; // of rank 0
    bool isGrouped = shouldGroup(part, factors);
    numGrouped += isGrouped;
    Value added = isGrouped ? grouped(part, factors) : dense(part, factors);
    added = b.times(added, part.scale);
    if (Value gate = mix.getGate())
      added = b.node("Mul", {added, gate});
    added.setType(op.getResult().getType());
    result = b.node("Add", {result, added}, op.getResult().getType());
  }
  op.replaceAllUsesWith(result);
  op.erase();
  return success();
}

namespace {
struct ExpandMixturesPass final : adapter::impl::ExpandMixturesPassBase<ExpandMixturesPass> {
  ExpandMixturesPass() = default;
  explicit ExpandMixturesPass(const adapter::ExpandMixturesPassOptions &options)
      : ExpandMixturesPassBase(options) {}
  ExpandMixturesPass(const ExpandMixturesPass &other) : ExpandMixturesPassBase(other) {}

  void runOnOperation() override {
    getOperation()->walk([&](Operation *each) {
      if (each->use_empty())
        unread.insert(each);
    });
    if (pairwise)
      weighAll();
    SmallVector<LinearOp> linears;
    getOperation()->walk([&](LinearOp op) {
      if (dependsOnInput(op.getUpdate()))
        linears.push_back(op);
    });
    unsigned numGroupedHere = 0;
    for (auto [number, op] : llvm::enumerate(linears)) {
      StringAttr own = op.getNodeAttr() ? op.getNodeAttr().getAs<StringAttr>("node_name") : StringAttr();
      std::string name = own && !own.empty() ? own.str() : "linear_" + std::to_string(number);
      if (failed(LinearExpander(op, name, grouped).run(numGroupedHere)))
        return signalPassFailure();
      ++numExpanded;
    }
    numGrouped += numGroupedHere;
    eraseUnread();
    SmallVector<RouteOp> routes;
    getOperation()->walk([&](RouteOp op) { routes.push_back(op); });
    for (auto [number, op] : llvm::enumerate(routes))
      expandRoute(op, "router_" + std::to_string(number));
    eraseUnread();
  }

  // Mixtures take weights of all experts, so that nothing is sorted.
  void weighAll() {
    SmallVector<RouteOp> routes;
    getOperation()->walk([&](RouteOp op) {
      if (llvm::all_of(op->getUsers(), [](Operation *user) { return isa<MixOp>(user); }))
        routes.push_back(op);
    });
    for (auto [number, op] : llvm::enumerate(routes)) {
      Value weights = weighPairwise(op, "weighed_" + std::to_string(number));
      if (!weights)
        continue;
      for (Operation *user : llvm::to_vector(op->getUsers()))
        cast<MixOp>(user).getIdsMutable().clear();
      op.getWeights().replaceAllUsesWith(weights);
      op.erase();
    }
  }

  // Updates and factors that nothing reads any more, unlike those that nothing read before.
  void eraseUnread() {
    SmallVector<Operation *> ops;
    getOperation()->walk([&](Operation *each) {
      if (isa<UpdateOpInterface, ParameterOp, RouteOp, arith::ConstantOp>(each) && !unread.contains(each))
        ops.push_back(each);
    });
    for (Operation *each : llvm::reverse(ops))
      if (each->use_empty())
        each->erase();
  }

  DenseSet<Operation *> unread; // before
};
} // namespace
