// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter-keep-states: caches that only attention reads stay where a session keeps them. Attention is given the new keys
// and values alone; the continued cache is not an output any more.
#include "lib/Conversion/ONNXToAdapter/GraphMatch.h"
#include "lib/Conversion/Passes.h"

namespace adapter {
#define GEN_PASS_DEF_KEEPSTATESPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using onnxir::SessionAttr;
using onnxir::StateAttr;

namespace {
class GraphCaches {
public:
  GraphCaches(onnxir::GraphOp graph, SessionAttr session)
      : graph(graph), body(graph.getBody().front()), end(cast<onnxir::ReturnOp>(body.getTerminator())),
        session(session), states(session.getStates()) {}

  // Returns how many caches are kept.
  FailureOr<unsigned> run() {
    SmallVector<AttentionOp> all(body.getOps<AttentionOp>());
    for (AttentionOp attention : all)
      keep(attention);
    for (StateAttr each : states)
      if (session.getApart() && each.getKept() < 0)
        return graph.emitError("--stateful: input '")
               << cast<StringAttr>(graph.getInputNames()[each.getPast()]).getValue()
               << "' is read by more than one attention, which would see the padding of rows";
    if (kept) {
      dropOutputs();
      graph->setAttr(onnxir::sessionAttribute, SessionAttr::get(graph.getContext(), states, session.getMask(),
                                                                session.getPositions(), session.getApart()));
    }
    return static_cast<unsigned>(kept);
  }

private:
  // The state that a Concat continues, if nothing but the attention and questions for its shape read either.
  StateAttr *stateOf(Value all, AttentionOp attention) {
    onnxir::NodeOp concat = madeBy(all, "Concat");
    auto past = concat ? dyn_cast_or_null<BlockArgument>(inputOf(concat, 0)) : BlockArgument();
    auto *state = llvm::find_if(states, [&](StateAttr each) {
      return past && past.getOwner() == &body && each.getPast() == past.getArgNumber() &&
             each.getAxis() == 2 && each.getPresent() >= 0 &&
             before(end.getOperand(each.getPresent())) == all;
    });
    if (state == states.end())
      return nullptr;
    auto isOurs = [&](Operation *user) {
      if (user == attention || user == end || user == concat)
        return true;
      auto node = dyn_cast<onnxir::NodeOp>(user);
      return node && node.getDomain().empty() && node.getOpType() == "Shape";
    };
    bool alone = llvm::all_of(past.getUsers(), isOurs) && llvm::all_of(all.getUsers(), isOurs) &&
                 llvm::count(end.getOperands(), all) == 1;
    return alone ? state : nullptr;
  }

  void keep(AttentionOp attention) {
    Value key = before(attention.getKey()), value = before(attention.getValue());
    if (key == value)
      return;
    StateAttr *keys = stateOf(key, attention), *values = stateOf(value, attention);
    if (!keys || !values)
      return;
    for (StateAttr *each : {keys, values})
      *each = StateAttr::get(graph.getContext(), each->getPast(), /*present=*/-1, each->getAxis(), kept++);
    attention.setState(SmallVector<int64_t>{kept - 2, kept - 1});
    for (auto [operand, all] :
         {std::pair(&attention.getKeyMutable(), key), {&attention.getValueMutable(), value}}) {
      dropped.push_back(all);
      operand->assign(madeBy(all, "Concat").getInputs()[1]);
    }
  }

  // Outputs that are left get new numbers.
  void dropOutputs() {
    SmallVector<Value> operands;
    SmallVector<Attribute> names;
    SmallVector<int64_t> numbers;
    std::optional<ArrayAttr> before = end.getOutputNames();
    for (auto [number, operand] : llvm::enumerate(end.getOperands())) {
      bool goes = llvm::is_contained(dropped, adapter::before(operand));
      numbers.push_back(goes ? -1 : static_cast<int64_t>(operands.size()));
      if (goes)
        continue;
      operands.push_back(operand);
      if (before)
        names.push_back((*before)[number]);
    }
    end.getOperandsMutable().assign(operands);
    if (before)
      end.setOutputNamesAttr(ArrayAttr::get(graph.getContext(), names));
    for (StateAttr &state : states)
      if (state.getPresent() >= 0)
        state = StateAttr::get(graph.getContext(), state.getPast(), numbers[state.getPresent()],
                               state.getAxis(), state.getKept());
    eraseDeadNodes(body);
  }

  onnxir::GraphOp graph;
  Block &body;
  onnxir::ReturnOp end;
  SessionAttr session;
  SmallVector<StateAttr> states;
  int64_t kept = 0;
  SmallVector<Value> dropped;
};

struct KeepStatesPass final : adapter::impl::KeepStatesPassBase<KeepStatesPass> {
  using Base::Base;

  void runOnOperation() override {
    WalkResult result = getOperation()->walk([&](onnxir::GraphOp graph) {
      auto session = graph->getAttrOfType<SessionAttr>(onnxir::sessionAttribute);
      if (!session)
        return WalkResult::advance();
      FailureOr<unsigned> kept = GraphCaches(graph, session).run();
      if (failed(kept))
        return WalkResult::interrupt();
      numKept += *kept;
      return WalkResult::advance();
    });
    if (result.wasInterrupted())
      signalPassFailure();
  }
};
} // namespace
