// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-slice-networks: act(x W + b) V, with a gate or without, is the sum over slices of its inner neurons: columns
// of W and b, rows of V. Each slice becomes an expert that every token has, with weight 1. What the second product adds
// stays a node.
#include "lib/Attach/ModuleTable.h"
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/ONNX/NodeBuilder.h"

namespace adapter {
#define GEN_PASS_DEF_SLICENETWORKSPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
// x W + b over parameters; the bias may be null.
struct Linear {
  Value input, weight, bias;
};

struct Network {
  Value input, down;
  SmallVector<Linear, 2> up; // the gate first, where there is one
  checkpoint::Activation activation = checkpoint::Activation::Identity;
};
} // namespace

// A parameter of f32 with a static shape of that rank.
static bool isWeight(Value value, int64_t rank) {
  return hasRank(value, rank) && value.getDefiningOp<ParameterOp>() && tensorOf(value).hasStaticShape() &&
         tensorOf(value).getElementType().isF32();
}

static std::optional<Linear> matchLinear(Value value) {
  Value bias;
  if (auto sum = madeBy(value, "Add"))
    for (unsigned side : {0u, 1u})
      if (isWeight(inputOf(sum, side), 1)) {
        bias = inputOf(sum, side);
        value = inputOf(sum, 1 - side);
        break;
      }
  auto product = madeBy(value, "MatMul");
  if (!product)
    return std::nullopt;
  Linear found{inputOf(product, 0), inputOf(product, 1), bias};
  RankedTensorType input = tensorOf(found.input);
  if (!isWeight(found.weight, 2) || !input || input.getRank() < 2 || !input.getElementType().isF32())
    return std::nullopt;
  if (bias && tensorOf(bias).getDimSize(0) != tensorOf(found.weight).getDimSize(1))
    return std::nullopt;
  return found;
}

static std::optional<Network> matchNetwork(onnxir::NodeOp second) {
  if (second.getOpType() != "MatMul" || !second.getDomain().empty())
    return std::nullopt;
  Network found;
  Value active = inputOf(second, 0);
  found.down = inputOf(second, 1);
  if (!isWeight(found.down, 2) || !active || !isReadBy(active, {"MatMul"}) || !tensorOf(second.getResult(0)))
    return std::nullopt;
  auto add = [&](Value linear) {
    std::optional<Linear> up = linear ? matchLinear(linear) : std::nullopt;
    if (up)
      found.up.push_back(*up);
    return up.has_value();
  };
  // silu is a product too: what has no gate comes first.
  if (!add(matchActivation(active, found.activation))) {
    auto gated = madeBy(active, "Mul");
    bool isGated = false;
    for (unsigned side = 0; gated && !isGated && side < 2; ++side) {
      found.up.clear();
      isGated = add(matchActivation(inputOf(gated, side), found.activation)) && add(inputOf(gated, 1 - side));
    }
    if (!isGated || found.up[0].input != found.up[1].input ||
        found.up[0].weight.getType() != found.up[1].weight.getType() ||
        !found.up[0].bias != !found.up[1].bias)
      return std::nullopt;
  }
  found.input = found.up[0].input;
  ArrayRef<int64_t> up = tensorOf(found.up[0].weight).getShape();
  return up[1] == tensorOf(found.down).getDimSize(0) && tensorOf(found.input).getShape().back() == up[0]
             ? std::optional(found)
             : std::nullopt;
}

namespace {
class Slicer {
public:
  Slicer(OpBuilder &builder, onnxir::NodeOp second, const Network &network, int64_t slices, unsigned number)
      : b(builder, second.getLoc(), "sliced_" + std::to_string(number), "sliced"), second(second),
        network(network), slices(slices), width(tensorOf(network.up[0].weight).getDimSize(0)),
        inner(tensorOf(network.down).getDimSize(0)), outer(tensorOf(network.down).getDimSize(1)) {}

  Value slice() {
    bool isGated = network.up.size() == 2;
    Value rows = b.node("Reshape", {network.input, b.integers({-1, width})}, f32({any, width}));
    Value sizes = b.node("Concat", {dims(rows, {0}), b.integers({slices})}, i64({2}), axis(0));
    SmallVector<int64_t> all(llvm::to_vector(llvm::seq<int64_t>(0, slices)));
    Value ids = b.node("Expand", {b.integers(all), sizes}, i64({any, slices}));
    Value weights = b.node("Expand", {b.constant(1.0, network.input), sizes}, f32({any, slices}));
    SmallVector<Value> up, bias;
    for (const Linear &linear : network.up) {
      up.push_back(columns(linear.weight));
      if (linear.bias)
        bias.push_back(
            b.node("Reshape", {linear.bias, b.integers({slices, share()})}, f32({slices, share()})));
    }
    int64_t wide = share() * static_cast<int64_t>(up.size());
    Value upAll = isGated ? b.node("Concat", up, f32({slices, width, wide}), axis(2)) : up[0];
    Value biasAll = bias.empty() ? Value() : bias[0];
    if (bias.size() == 2)
      biasAll = b.node("Concat", bias, f32({slices, wide}), axis(1));
    Value down = b.node("Reshape", {network.down, b.integers({slices, share(), outer})},
                        f32({slices, share(), outer}));
    StringAttr layer;
    if (std::string path = modulePathOf(second); !path.empty())
      layer = b.builder.getStringAttr(path);
    Value sum = ExpertsOp::create(b.builder, second.getLoc(), f32({any, outer}), rows, ids, weights, upAll,
                                  down, biasAll, network.activation, isGated, /*transposed=*/true,
                                  IntegerAttr(), DenseI64ArrayAttr(), layer);
    int64_t rank = tensorOf(network.input).getRank();
    Value leading = dims(network.input, llvm::to_vector(llvm::seq<int64_t>(0, rank - 1)));
    Value shape = b.node("Concat", {leading, b.integers({outer})}, i64({rank}), axis(0));
    return b.node("Reshape", {sum, shape}, second.getResult(0).getType());
  }

private:
  static constexpr int64_t any = ShapedType::kDynamic;
  int64_t share() const { return inner / slices; }
  Type f32(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.builder.getF32Type()); }
  Type i64(ArrayRef<int64_t> shape) { return RankedTensorType::get(shape, b.builder.getI64Type()); }
  NamedAttribute attribute(StringRef name, Attribute value) { return {b.builder.getStringAttr(name), value}; }
  NamedAttribute axis(int64_t value) { return attribute("axis", b.builder.getI64IntegerAttr(value)); }
  // Some sizes of a value.
  Value dims(Value of, ArrayRef<int64_t> which) {
    Value shape = b.node("Shape", {of}, i64({tensorOf(of).getRank()}));
    return b.node("Gather", {shape, b.integers(which)}, i64({static_cast<int64_t>(which.size())}), axis(0));
  }
  // [width, inner] as [slices, width, share].
  Value columns(Value weight) {
    Value parts =
        b.node("Reshape", {weight, b.integers({width, slices, share()})}, f32({width, slices, share()}));
    return b.node("Transpose", {parts}, f32({slices, width, share()}),
                  attribute("perm", b.builder.getDenseI64ArrayAttr({1, 0, 2})));
  }

  NodeBuilder b;
  onnxir::NodeOp second;
  const Network &network;
  int64_t slices, width, inner, outer;
};

struct SliceNetworksPass final : adapter::impl::SliceNetworksPassBase<SliceNetworksPass> {
  using Base::Base;

  void runOnOperation() override {
    int64_t slices = this->slices;
    if (slices < 1) {
      getOperation()->emitError("cannot slice networks into ") << slices << " parts";
      return signalPassFailure();
    }
    SmallVector<std::pair<onnxir::NodeOp, Network>> networks;
    bool hasExperts = false;
    getOperation()->walk([&](Operation *op) {
      hasExperts |= isa<ExpertsOp>(op);
      if (auto node = dyn_cast<onnxir::NodeOp>(op))
        if (std::optional<Network> found = matchNetwork(node))
          networks.emplace_back(node, std::move(*found));
    });
    if (hasExperts)
      return;
    llvm::SetVector<Block *> changed;
    for (auto &[second, network] : networks) {
      int64_t inner = tensorOf(network.down).getDimSize(0);
      if (inner % slices) {
        second.emitError("--partition-experts: ")
            << slices << " ranks do not divide the " << inner
            << " neurons of the network before MatMul node '" << second.getNodeName().value_or("") << "'";
        return signalPassFailure();
      }
      OpBuilder builder(second);
      second.getResult(0).replaceAllUsesWith(Slicer(builder, second, network, slices, numSliced).slice());
      changed.insert(second->getBlock());
      ++numSliced;
    }
    for (Block *block : changed)
      for (Operation &op : llvm::make_early_inc_range(llvm::reverse(*block)))
        if (isa<onnxir::NodeOp>(op) && isOpTriviallyDead(&op))
          op.erase();
  }
};
} // namespace
