// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-pair-states: which inputs of a graph are caches that outputs continue. What pairs them is the graph, an output
// that is Concat(input, new); names say what must be found, so that no cache is left out in silence.
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Conversion/Passes.h"

namespace adapter {
#define GEN_PASS_DEF_PAIRSTATESPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using onnxir::SessionAttr;
using onnxir::StateAttr;

namespace {
class GraphStates {
public:
  explicit GraphStates(onnxir::GraphOp graph)
      : graph(graph), body(graph.getBody().front()), end(cast<onnxir::ReturnOp>(body.getTerminator())) {}

  // The session of the graph, or null after an error.
  SessionAttr find() {
    for (unsigned output = 0; output < end.getNumOperands(); ++output)
      if (failed(addOutput(output)))
        return {};
    if (failed(checkNames()))
      return {};
    llvm::sort(states, [](StateAttr a, StateAttr b) { return a.getPast() < b.getPast(); });
    FailureOr<int64_t> mask = findTokens("attention_mask"), positions = findTokens("position_ids");
    if (failed(mask) || failed(positions))
      return {};
    return SessionAttr::get(graph.getContext(), states, *mask, *positions);
  }

private:
  StringRef inputName(int64_t input) { return cast<StringAttr>(graph.getInputNames()[input]).getValue(); }
  StringRef outputName(int64_t output) {
    std::optional<ArrayAttr> names = end.getOutputNames();
    return names ? cast<StringAttr>((*names)[output]).getValue() : StringRef();
  }
  // Names as ONNX has them may hold anything.
  InFlightDiagnostic error() { return graph.emitError("--stateful: "); }

  // The state that an output continues, if it does.
  LogicalResult addOutput(unsigned output) {
    onnxir::NodeOp concat = madeBy(end.getOperand(output), "Concat");
    if (!concat || concat.getInputs().size() != 2)
      return success();
    auto past = dyn_cast_or_null<BlockArgument>(inputOf(concat, 0));
    RankedTensorType type = past && past.getOwner() == &body ? tensorOf(past) : RankedTensorType();
    if (!type || !isa<FloatType>(type.getElementType()))
      return success();
    int64_t input = past.getArgNumber(), axis = attributeOf(concat, "axis", 0);
    axis += axis < 0 ? type.getRank() : 0;
    if (axis <= 0 || axis >= type.getRank())
      return success();
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      bool varies = dim == 0 || dim == axis;
      if (type.isDynamicDim(dim) != varies)
        return error() << "input '" << inputName(input) << "' is " << type.getShape().size()
                       << "-dimensional state whose axis " << dim
                       << (varies ? " has a fixed size" : " varies") << "; rows (axis 0) and tokens (axis "
                       << axis << ") must vary, and nothing else may";
    }
    if (llvm::any_of(states, [&](StateAttr each) { return each.getPast() == input; }))
      return error() << "input '" << inputName(input) << "' is continued by two outputs";
    states.push_back(StateAttr::get(graph.getContext(), input, output, axis, /*kept=*/-1));
    return success();
  }

  LogicalResult checkNames() {
    for (int64_t input = 0; input < body.getNumArguments(); ++input)
      if (inputName(input).starts_with("past") &&
          llvm::none_of(states, [&](StateAttr each) { return each.getPast() == input; }))
        return error()
               << "input '" << inputName(input)
               << "' looks like a cache, but no output is that input with new tokens behind it (a Concat)";
    for (int64_t output = 0; output < end.getNumOperands(); ++output)
      if (outputName(output).starts_with("present") &&
          llvm::none_of(states, [&](StateAttr each) { return each.getPresent() == output; }))
        return error() << "output '" << outputName(output)
                       << "' looks like a cache, but it is no input with new tokens behind it (a Concat)";
    if (states.empty())
      return error()
             << "the graph has no cache: no output is an input with new tokens behind it; adapter-opt export "
                "--cache makes a model that has";
    return success();
  }

  // An input of integers, [rows, tokens], by its name; -1 where there is none.
  FailureOr<int64_t> findTokens(StringRef name) {
    for (int64_t input = 0; input < body.getNumArguments(); ++input) {
      if (inputName(input) != name)
        continue;
      RankedTensorType type = tensorOf(body.getArgument(input));
      bool isKnown =
          type && type.getRank() == 2 && type.isDynamicDim(0) && type.isDynamicDim(1) &&
          (type.getElementType().isSignlessInteger(64) || type.getElementType().isSignlessInteger(32));
      if (!isKnown)
        return error() << "input '" << name
                       << "' must be of int64 or int32 and have two dynamic axes, rows and tokens";
      return input;
    }
    return -1;
  }

  onnxir::GraphOp graph;
  Block &body;
  onnxir::ReturnOp end;
  SmallVector<StateAttr> states;
};

struct PairStates : adapter::impl::PairStatesPassBase<PairStates> {
  void runOnOperation() override {
    WalkResult result = getOperation()->walk([&](onnxir::GraphOp graph) {
      SessionAttr session = GraphStates(graph).find();
      if (!session)
        return WalkResult::interrupt();
      numStates += session.getStates().size();
      graph->setAttr(onnxir::sessionAttribute, session);
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
