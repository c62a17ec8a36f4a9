// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-partition-experts: says which rank has which expert. With a profile of the model the placement is the best
// that lib/Placement finds for what was chosen while it was profiled; without one experts stay in order. Experts that
// are slices of one network all work on every token, so that any placement is as good.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/Text.h"
#include "lib/Compile/Passes.h"
#include "lib/Placement/Placement.h"
#include "lib/Support/ExpertLayers.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

namespace adapter {
#define GEN_PASS_DEF_PARTITIONEXPERTSPASS
#include "lib/Compile/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

namespace {
// What is chosen for a layer, and from what.
struct Layer {
  ExpertsOp op;
  std::optional<ExpertLayer> known;
  const placement::LayerProfile *profile = nullptr; // null where nothing was profiled
  placement::Placement placement;
};

class Plan {
public:
  Plan(llvm::raw_ostream &os, int64_t ranks) : os(os), ranks(ranks) {}

  void header(StringRef profile) {
    os << "experts over " << ranks << " ranks, "
       << (profile.empty() ? std::string("no profile: expected if all were chosen alike")
                           : "by " + checkpoint::printable(profile.str()))
       << '\n'
       << llvm::formatv("{0,-48} {1,7} {2,5} {3,-12} {4,8} {5,14}\n", "layer", "experts", "top", "placement",
                        "max/mean", "bytes/token");
  }

  void row(StringRef name, int64_t experts, int64_t top, StringRef which, placement::Quality quality,
           int64_t in, int64_t out) {
    double bytes = placement::bytesPerToken(quality, ranks, top, in, out);
    os << llvm::formatv("{0,-48} {1,7} {2,5} {3,-12} {4,8:F3} {5,14:F1}\n", checkpoint::printable(name.str()),
                        experts, top, which, quality.balance, bytes);
  }

  void layer(const Layer &layer) {
    const ExpertLayer &known = *layer.known;
    auto print = [&](StringRef which, placement::Quality quality) {
      row(which == "chosen" ? StringRef(known.name) : "", known.experts, known.top, which, quality,
          known.inputWidth, known.outputWidth);
    };
    if (!layer.profile)
      return print("chosen", placement::expectedQuality(known.experts, known.top, ranks));
    auto quality = [&](const placement::Placement &of) {
      return placement::qualityOf(*layer.profile, ranks, of);
    };
    print("chosen", quality(layer.placement));
    print("round-robin", quality(placement::roundRobin(known.experts, ranks)));
    print("EPLB", quality(placement::balancedPacking(layer.profile->counts, ranks)));
  }

private:
  llvm::raw_ostream &os;
  int64_t ranks;
};

struct PartitionExpertsPass final : adapter::impl::PartitionExpertsPassBase<PartitionExpertsPass> {
  using Base::Base;

  LogicalResult check(ExpertsOp op) {
    int64_t experts = cast<ShapedType>(op.getUp().getType()).getShape()[0], ranks = this->ranks;
    if (ShapedType::isDynamic(experts))
      return op.emitOpError("has a number of experts that only the call knows");
    if (experts < ranks)
      return op.emitError() << "--partition-experts: there are " << ranks << " ranks for " << experts
                            << " experts";
    if (experts % ranks)
      return op.emitError() << "--partition-experts: " << ranks << " ranks do not divide " << experts
                            << " experts";
    return success();
  }

  // The profile of a layer; an error where it is of other experts.
  FailureOr<const placement::LayerProfile *> findProfile(Layer &layer, const placement::Profile &of) {
    auto refuse = [&](const Twine &why) {
      return layer.op.emitError() << checkpoint::printable(profile)
                                  << ": a profile of another model: " << why;
    };
    if (!layer.known)
      return layer.op.emitError("has weights that are no parameters; no profile can be of them");
    // Of two of a name the one with these weights is meant.
    for (const placement::LayerProfile &each : of.layers)
      if (each.name == layer.known->name && each.identity == layer.known->identity &&
          each.experts == layer.known->experts &&
          (!each.tokens || !layer.known->top || each.top == layer.known->top))
        return each.tokens ? &each : nullptr;
    for (const placement::LayerProfile &each : of.layers)
      if (each.name == layer.known->name) {
        if (each.experts != layer.known->experts)
          return refuse("its '" + each.name + "' has " + Twine(each.experts) + " experts, not " +
                        Twine(layer.known->experts));
        if (each.identity != layer.known->identity)
          return refuse("its '" + each.name + "' has other weights");
        return refuse("tokens chose " + Twine(each.top) + " experts of its '" + each.name + "', not " +
                      Twine(layer.known->top));
      }
    return refuse("it lacks the layer '" + layer.known->name + "'");
  }

  LogicalResult place(Layer &layer, const placement::Profile &from) {
    if (failed(check(layer.op)))
      return failure();
    layer.known = expertLayerOf(layer.op);
    int64_t experts = cast<ShapedType>(layer.op.getUp().getType()).getShape()[0];
    // All experts of each token: nothing to choose.
    bool isDense = !layer.known && cast<ShapedType>(layer.op.getIds().getType()).getShape()[1] == experts;
    if (!profile.empty() && !isDense) {
      FailureOr<const placement::LayerProfile *> found = findProfile(layer, from);
      if (failed(found))
        return failure();
      layer.profile = *found;
    }
    layer.placement =
        layer.profile ? placement::optimise(*layer.profile, ranks) : placement::contiguous(experts, ranks);
    OpBuilder b(layer.op);
    layer.op.setRanksAttr(b.getI64IntegerAttr(ranks));
    layer.op.setPlacementAttr(b.getDenseI64ArrayAttr(layer.placement));
    ++numPlaced;
    return success();
  }

  void runOnOperation() override {
    if (ranks < 1) {
      getOperation().emitError("--partition-experts: ranks=")
          << ranks.getValue() << ": there must be one at least";
      return signalPassFailure();
    }
    SmallVector<Layer> layers;
    getOperation().walk([&](ExpertsOp op) {
      if (!op.getRanks())
        layers.emplace_back().op = op;
    });
    if (layers.empty()) {
      getOperation().emitError(
          "--partition-experts: the model has no experts and no feed-forward network that "
          "could be sliced into some");
      return signalPassFailure();
    }
    placement::Profile from;
    if (!profile.empty()) {
      checkpoint::Result<placement::Profile> read = placement::readProfile(profile);
      if (!read) {
        getOperation().emitError(read.error().message);
        return signalPassFailure();
      }
      from = std::move(*read);
    }
    for (Layer &layer : layers)
      if (failed(place(layer, from)))
        return signalPassFailure();
    if (!plan)
      return;
    Plan text(llvm::outs(), ranks);
    text.header(profile);
    for (const Layer &layer : layers)
      if (layer.known)
        text.layer(layer);
    printSlices(text, layers);
  }

  // Slices of networks: every rank has the same of each.
  void printSlices(Plan &text, ArrayRef<Layer> layers) {
    int64_t number = 0;
    for (const Layer &layer : layers) {
      if (layer.known)
        continue;
      ExpertsOp op = layer.op;
      ArrayRef<int64_t> in = cast<ShapedType>(op.getInput().getType()).getShape();
      ArrayRef<int64_t> out = cast<ShapedType>(op.getResult().getType()).getShape();
      int64_t top = cast<ShapedType>(op.getIds().getType()).getShape()[1];
      std::string name = op.getLayer() ? op.getLayer()->str() : ("network " + Twine(number)).str();
      ++number;
      text.row(name, top, top, "sliced", {1, static_cast<double>(ranks)}, in[1], out[1]);
    }
  }
};
} // namespace
