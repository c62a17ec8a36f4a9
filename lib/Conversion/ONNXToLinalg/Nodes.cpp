// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A graph's nodes, one after the other, through the table of lowerings; and what adapters that come later have put
// between them.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Experts.h"
#include "lib/Conversion/ONNXToLinalg/Provenance.h"

using namespace mlir;
using namespace adapter;

static GraphLowering::Bank describeBank(SiteOp site) {
  GraphLowering::Bank bank;
  bank.perRow = site.getTime() == BindingTime::Row;
  bank.spare = site.getSpare();
  bank.byToken = site.getByToken().has_value();
  return bank;
}

// A bank is met at each place where the graph uses its site.
static void meetBank(GraphLowering &graph, int64_t number, SiteOp site) {
  graph.banks.try_emplace(number, describeBank(site));
}

// A weight that adapters act on later: one that a switch may change is a parameter of its own, one that
// differs by row carries the number of its bank.
static LogicalResult lowerMaterialize(MaterializeOp op, GraphLowering &graph) {
  auto select = op.getUpdate().getDefiningOp<SelectOp>();
  if (!select)
    return op.emitError("its update is known at build; run adapter-merge first");
  auto site = SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, select.getSiteAttr());
  if (!site)
    return select.emitError() << "names no site";
  Lowered lowered;
  site.removeSharesAttr();
  if (auto parameter = op.getWeight().getDefiningOp<ParameterOp>()) {
    FailureOr<Lowered> own = graph.parameter(parameter, site.getSymName());
    if (failed(own))
      return failure();
    lowered = std::move(*own);
  } else if (auto inner = op.getWeight().getDefiningOp<MaterializeOp>()) {
    // Two times at one parameter: the later site reads what the earlier one holds.
    lowered = graph.get(op.getWeight());
    auto select = inner.getUpdate().getDefiningOp<SelectOp>();
    FlatSymbolRefAttr shared =
        SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, select.getSiteAttr()).getSharesAttr();
    site.setSharesAttr(shared ? shared : select.getSiteAttr());
  } else {
    return op.emitError("acts on a weight that is no parameter");
  }
  if (std::optional<int64_t> bank = site.getBank()) {
    bool perRow = site.getTime() == BindingTime::Row;
    meetBank(graph, *bank, site);
    if (!perRow && site.getKind() == SiteKind::Vector)
      lowered = graph.callVector(lowered, *bank);
    else
      lowered.banks.push_back(*bank);
  }
  graph.set(op.getResult(), std::move(lowered));
  return success();
}

// A value that modules of rows or of the call act on.
static LogicalResult lowerAct(ActOp op, GraphLowering &graph) {
  auto site = SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, op.getSiteAttr());
  std::optional<int64_t> bank = site ? site.getBank() : std::nullopt;
  if (!bank)
    return op.emitError("names no site of rows or calls");
  graph.b.setLoc(op.getLoc());
  meetBank(graph, *bank, site);
  auto hasGate = [](BottleneckAttr each) { return each.getValue().gate; };
  if (graph.banks[*bank].byToken &&
      llvm::any_of(site.getBottlenecks()->getAsRange<BottleneckAttr>(), hasGate))
    graph.refuseTokens(*bank, "a gate is a mean over a sequence");
  Lowered *residual = op.getResidual() ? &graph.get(op.getResidual()) : nullptr;
  Lowered result = graph.actByRow(graph.get(op.getBase()), graph.get(op.getInput()), residual, *bank,
                                  *site.getBottlenecks());
  if (!graph.fault.empty())
    return op.emitError() << "module at '" << site.getModule() << "': " << graph.fault;
  graph.set(op.getResult(), std::move(result));
  return success();
}

// Only these read a parameter that differs by row as each row's own; any other would read the base's.
static void checkBanks(onnxir::NodeOp node, GraphLowering &graph) {
  static constexpr StringRef known[] = {"Add",
                                        "Conv",
                                        "Div",
                                        "Gather",
                                        "Gemm",
                                        "Mul",
                                        "Identity",
                                        "MatMul",
                                        "LayerNormalization",
                                        "RMSNormalization",
                                        "Sub",
                                        "Reshape",
                                        "Squeeze",
                                        "Transpose",
                                        "Unsqueeze"};
  for (unsigned i = 0; i < node.getInputs().size(); ++i) {
    Lowered *input = graph.input(node, i);
    if (!input || input->banks.empty())
      continue;
    bool grouped = node.getOpType() == "Conv" && intAttr(node, "group", 1) != 1;
    if (!grouped && llvm::is_contained(known, node.getOpType()))
      continue;
    for (int64_t bank : input->banks)
      graph.refuse(bank, "its parameter cannot differ by row; bind the adapter at build or switch");
    input->banks.clear();
  }
}

// Whether an operand has rows that the graph knows nothing of.
static bool takesLifted(Operation &op, GraphLowering &graph) {
  return llvm::any_of(op.getOperands(),
                      [&](Value operand) { return graph.has(operand) && graph.get(operand).isLifted; });
}

LogicalResult adapter::lowerNodes(Block &block, GraphLowering &graph) {
  const LoweringTable &table = LoweringTable::get();
  for (Operation &op : block) {
    auto node = dyn_cast<onnxir::NodeOp>(op);
    graph.node = node;
    if (!node && !isa<AttentionOp>(op) && takesLifted(op, graph))
      return op.emitError() << (op.hasTrait<OpTrait::IsTerminator>() ? "a result of the graph" : "a value")
                            << " is one for all rows, and an adapter changes it by row; bind the adapter at "
                               "build, switch or call";
    if (op.hasTrait<OpTrait::IsTerminator>())
      break;
    if (auto materialize = dyn_cast<MaterializeOp>(op)) {
      if (failed(lowerMaterialize(materialize, graph)))
        return failure();
      continue;
    }
    if (auto route = dyn_cast<RouteOp>(op)) {
      graph.b.setLoc(op.getLoc());
      if (failed(lowerRoute(route, graph)))
        return failure();
      continue;
    }
    if (auto experts = dyn_cast<ExpertsOp>(op)) {
      graph.b.setLoc(op.getLoc());
      if (failed(lowerExperts(experts, graph)))
        return failure();
      if (!graph.fault.empty())
        return op.emitError() << graph.fault;
      continue;
    }
    if (auto attention = dyn_cast<AttentionOp>(op)) {
      graph.b.setLoc(op.getLoc());
      if (failed(lowerAttention(attention, graph)))
        return failure();
      if (!graph.fault.empty())
        return op.emitError() << graph.fault;
      continue;
    }
    if (auto act = dyn_cast<ActOp>(op)) {
      if (failed(lowerAct(act, graph)))
        return failure();
      continue;
    }
    if (!node) {
      if (!isa<ParameterOp, onnxir::AbsentOp, SelectOp>(op))
        return op.emitError() << "cannot be lowered to linalg";
      continue;
    }
    LowerNodeFunction lower = table.lookup(node.getDomain(), node.getOpType(), node.getOpsetVersion());
    if (!lower)
      return node.emitError() << describe(node) << ": operator "
                              << (node.getDomain().empty() ? "" : node.getDomain() + "::") << node.getOpType()
                              << " (opset " << node.getOpsetVersion()
                              << ") is not supported in compiled code; -o x.onnx keeps it as it is";
    graph.b.setLoc(node.getLoc());
    checkBanks(node, graph);
    if (graph.fault.empty() &&
        failed(takesLifted(op, graph) ? lowerLifted(node, graph, lower) : lower(node, graph)))
      return failure();
    if (!graph.fault.empty())
      return node.emitError() << (StringRef(graph.fault).starts_with(describe(node)) ? ""
                                                                                     : describe(node) + ": ")
                              << graph.fault;
    if (!takesLifted(op, graph))
      traceResults(node, graph);
    for (auto [result, name] : llvm::zip(node.getResults(), node.getResultNames()))
      if (!isa<NoneType>(result.getType()) && !graph.has(result) && !result.use_empty())
        return node.emitError() << describe(node) << ": result " << name
                                << " is used, but not supported in compiled code";
  }
  return success();
}
