// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// convert-onnx-to-linalg: each graph becomes a function on tensors, node by node through the table of
// lowerings. Initialisers become kernel.parameter ops, by their place in a list that the function carries.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Experts.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/Passes.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlow.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"

namespace adapter {
#define GEN_PASS_DEF_CONVERTONNXTOLINALGPASS
#include "lib/Conversion/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;

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
  site->removeAttr("shares");
  if (auto parameter = op.getWeight().getDefiningOp<ParameterOp>()) {
    FailureOr<Lowered> own =
        graph.parameter(op, parameter.getScope(), parameter.getKey(), parameter.getType(),
                        parameter.getValueAttr(), site.getSymName());
    if (failed(own))
      return failure();
    lowered = std::move(*own);
  } else if (auto inner = op.getWeight().getDefiningOp<MaterializeOp>()) {
    // Two times at one parameter: the later site reads what the earlier one holds.
    lowered = graph.get(op.getWeight());
    auto select = inner.getUpdate().getDefiningOp<SelectOp>();
    Attribute shared =
        SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, select.getSiteAttr())->getAttr("shares");
    site->setAttr("shares", shared ? shared : select.getSiteAttr());
  } else {
    return op.emitError("acts on a weight that is no parameter");
  }
  if (auto attr = site->getAttrOfType<IntegerAttr>("bank")) {
    bool perRow = site.getTime() == BindingTime::Row;
    graph.banks[attr.getInt()] = {perRow, site.getSpare(), ""};
    if (!perRow && site.getKind() == SiteKind::Vector)
      lowered = graph.callVector(lowered, attr.getInt());
    else
      lowered.banks.push_back(attr.getInt());
  }
  graph.set(op.getResult(), std::move(lowered));
  return success();
}

// A value that modules of rows or of the call act on.
static LogicalResult lowerAct(ActOp op, GraphLowering &graph) {
  auto site = SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, op.getSiteAttr());
  auto bank = site ? site->getAttrOfType<IntegerAttr>("bank") : IntegerAttr();
  if (!bank)
    return op.emitError("names no site of rows or calls");
  graph.b.setLoc(op.getLoc());
  graph.banks[bank.getInt()] = {site.getTime() == BindingTime::Row, site.getSpare(), ""};
  Lowered *residual = op.getResidual() ? &graph.get(op.getResidual()) : nullptr;
  Lowered result = graph.actByRow(graph.get(op.getBase()), graph.get(op.getInput()), residual, bank.getInt(),
                                  site.getForms());
  if (!graph.fault.empty())
    return op.emitError() << "module at '" << site.getModule() << "': " << graph.fault;
  graph.set(op.getResult(), std::move(result));
  return success();
}

// Lowerings that write their results by index say nothing of rows. Then they stay where the first input with
// rows has them, if the result has the same size there and nothing moves along that axis.
static void traceRows(onnxir::NodeOp node, GraphLowering &graph) {
  Lowered *input = nullptr;
  for (unsigned i = 0; i < node.getInputs().size(); ++i)
    if (Lowered *each = graph.input(node, i); each && each->rows.kind != Rows::None)
      if (!input || (each->rows.isTraced() && !input->rows.isTraced()))
        input = each;
  // Shapes are computed from sizes alone.
  if (!input || node.getOpType() == "Shape" || node.getOpType() == "Size")
    return;
  for (Value result : node.getResults()) {
    if (!graph.has(result) || graph.get(result).rows.kind != Rows::None || graph.get(result).elements)
      continue;
    Lowered &lowered = graph.get(result);
    const Rows &rows = input->rows;
    bool stays = rows.isTraced() && rows.axis < lowered.rank() &&
                 GraphLowering::same(input->shape[rows.axis], lowered.shape[rows.axis]) &&
                 (rows.axis == 0 || input->rank() == lowered.rank());
    int64_t axis = intAttr(node, "axis", lowered.rank());
    if (axis < 0)
      axis += lowered.rank();
    lowered.rows = stays && axis != rows.axis ? rows : Rows::elsewhere();
  }
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

static LogicalResult lowerNodes(Block &block, GraphLowering &graph) {
  const LoweringTable &table = LoweringTable::get();
  for (Operation &op : block.without_terminator()) {
    auto node = dyn_cast<onnxir::NodeOp>(op);
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
    if (graph.fault.empty() && failed(lower(node, graph)))
      return failure();
    if (!graph.fault.empty())
      return node.emitError() << (StringRef(graph.fault).starts_with(describe(node)) ? ""
                                                                                     : describe(node) + ": ")
                              << graph.fault;
    traceRows(node, graph);
    for (auto [result, name] : llvm::zip(node.getResults(), node.getResultNames()))
      if (!isa<NoneType>(result.getType()) && !graph.has(result) && !result.use_empty())
        return node.emitError() << describe(node) << ": result " << name
                                << " is used, but not supported in compiled code";
  }
  return success();
}

namespace {
struct ConvertONNXToLinalgPass final : adapter::impl::ConvertONNXToLinalgPassBase<ConvertONNXToLinalgPass> {
  using Base::Base;

  // Sizes of inputs: static, or one value for all dims of one name.
  void addInput(GraphLowering &graph, Value onnxInput, Value argument, llvm::StringMap<OpFoldResult> &named) {
    auto type = cast<RankedTensorType>(onnxInput.getType());
    auto dims = dyn_cast_or_null<onnxir::DimsAttr>(type.getEncoding());
    SmallVector<OpFoldResult> shape;
    for (int64_t dim = 0; dim < type.getRank(); ++dim) {
      if (!type.isDynamicDim(dim)) {
        shape.push_back(graph.constant(type.getDimSize(dim)));
        continue;
      }
      StringRef name =
          dims && dim < static_cast<int64_t>(dims.getNames().size()) ? dims.getNames()[dim].getValue() : "";
      if (!name.empty())
        if (auto known = named.find(name); known != named.end()) {
          shape.push_back(known->second);
          continue;
        }
      shape.push_back(Value(tensor::DimOp::create(graph.b, argument, dim)));
      if (!name.empty())
        named[name] = shape.back();
    }
    Lowered lowered = graph.wrap(argument, shape);
    lowered.isUnsigned = type.getElementType().isUnsignedInteger();
    graph.set(onnxInput, std::move(lowered));
  }

  // The rows' axis of one input, and of every input that has the same size at that axis, or in front. A graph
  // without the named input has its rows in front.
  LogicalResult addRows(GraphLowering &graph, onnxir::GraphOp op) {
    bool named = llvm::is_contained(op.getInputNames().getAsValueRange<StringAttr>(), StringRef(rowInput));
    int64_t axis = named ? rowAxis : 0;
    for (auto [argument, name] : llvm::zip(op.getBody().getArguments(), op.getInputNames())) {
      Lowered &input = graph.get(argument);
      StringRef text = cast<StringAttr>(name).getValue();
      if (graph.rowCount || (named ? text != StringRef(rowInput) : input.rank() == 0))
        continue;
      if (axis < 0 || axis >= input.rank())
        return op.emitError() << "--row-axis " << text << "=" << axis << ": the input has " << input.rank()
                              << " dimensions";
      graph.rowCount = input.shape[axis];
    }
    if (!graph.rowCount)
      return success();
    for (Value argument : op.getBody().getArguments()) {
      Lowered &input = graph.get(argument);
      for (int64_t place : {axis, int64_t(0)})
        if (!input.rows.isTraced() && place < input.rank() &&
            GraphLowering::same(input.shape[place], graph.rowCount))
          input.rows = Rows::at(place);
    }
    return success();
  }

  // The input that --row-axis names must be one of some graph.
  LogicalResult checkRowInput() {
    bool found = rowInput.empty();
    std::string names;
    for (auto model : getOperation().getOps<onnxir::ModelOp>())
      for (auto graph : model.getBody().getOps<onnxir::GraphOp>())
        for (StringRef name : graph.getInputNames().getAsValueRange<StringAttr>()) {
          found |= name == StringRef(rowInput);
          names += (names.empty() ? "'" : ", '") + name.str() + "'";
        }
    if (found)
      return success();
    return getOperation().emitError() << "--row-axis " << rowInput << "=" << rowAxis
                                      << ": no graph has such an input; they have " << names;
  }

  // Takes the sites of banks that were refused out of the model. Whether there were any.
  bool leaveOut(onnxir::ModelOp model, const std::map<int64_t, std::string> &refused) {
    SmallVector<Attribute> texts;
    if (auto before = getOperation()->getAttrOfType<ArrayAttr>("adapter.left_out"))
      llvm::append_range(texts, before);
    llvm::StringSet<> names;
    for (SiteOp site : llvm::make_early_inc_range(model.getBody().getOps<SiteOp>())) {
      auto number = site->getAttrOfType<IntegerAttr>("bank");
      auto why = number ? refused.find(number.getInt()) : refused.end();
      if (why == refused.end())
        continue;
      names.insert(site.getSymName());
      texts.push_back(
          StringAttr::get(&getContext(), site.getModule() + "." + site.getParameter() + ": " + why->second));
      site.erase();
    }
    if (names.empty())
      return false;
    SmallVector<SelectOp> selects;
    model->walk([&](SelectOp select) {
      if (names.contains(select.getSite()))
        selects.push_back(select);
    });
    for (SelectOp select : selects) {
      for (Operation *user : llvm::make_early_inc_range(select->getUsers()))
        if (auto materialize = dyn_cast<MaterializeOp>(user)) {
          materialize.replaceAllUsesWith(materialize.getWeight());
          materialize.erase();
        }
      select.erase();
    }
    getOperation()->setAttr("adapter.left_out", ArrayAttr::get(&getContext(), texts));
    return true;
  }

  // Lowers the graphs of a model. Room that they cannot serve shows on the way; then lowering starts over
  // without it.
  LogicalResult convert(onnxir::ModelOp model, size_t models, int64_t &banks) {
    for (;;) {
      int64_t next = banks;
      numberBanks(model, next);
      OpBuilder builder(model);
      SmallVector<func::FuncOp> functions;
      std::map<int64_t, std::string> refused;
      for (auto graph : model.getBody().getOps<onnxir::GraphOp>()) {
        GraphFunction made;
        if (failed(lower(graph, entryName(model, graph, models), builder, made)))
          return failure();
        functions.push_back(made.function);
        for (const auto &[number, bank] : made.graph->banks)
          if (!bank.refusal.empty())
            refused.emplace(number, bank.refusal);
      }
      if (!leaveOut(model, refused)) {
        banks = next;
        return success();
      }
      for (func::FuncOp function : functions)
        function.erase();
    }
  }

  struct GraphFunction {
    func::FuncOp function;
    std::unique_ptr<ImplicitLocOpBuilder> builder;
    std::unique_ptr<GraphLowering> graph;
  };

  LogicalResult lower(onnxir::GraphOp op, const std::string &name, OpBuilder &moduleBuilder,
                      GraphFunction &made) {
    SmallVector<Type> inputTypes;
    for (auto [argument, name] : llvm::zip(op.getBody().getArguments(), op.getInputNames())) {
      FailureOr<RankedTensorType> type = plainType(op, argument.getType(), cast<StringAttr>(name).getValue());
      if (failed(type))
        return failure();
      inputTypes.push_back(*type);
    }
    auto function = func::FuncOp::create(moduleBuilder, op.getLoc(), name,
                                         FunctionType::get(&getContext(), inputTypes, {}));
    // Inputs are the caller's.
    for (unsigned i = 0; i < inputTypes.size(); ++i)
      function.setArgAttr(i, "bufferization.writable", BoolAttr::get(&getContext(), false));
    Block *entry = function.addEntryBlock();
    made.function = function;
    made.builder = std::make_unique<ImplicitLocOpBuilder>(op.getLoc(), OpBuilder::atBlockEnd(entry));
    made.graph = std::make_unique<GraphLowering>(*made.builder);
    ImplicitLocOpBuilder &b = *made.builder;
    GraphLowering &graph = *made.graph;
    graph.columnBlock = columnBlock;
    llvm::StringMap<OpFoldResult> named;
    for (auto [onnxInput, argument] : llvm::zip(op.getBody().getArguments(), entry->getArguments()))
      addInput(graph, onnxInput, argument, named);
    if (failed(addRows(graph, op)))
      return failure();
    for (auto parameter : op.getBody().getOps<ParameterOp>()) {
      if (parameter->use_empty())
        continue;
      FailureOr<Lowered> lowered = graph.parameter(parameter, parameter.getScope(), parameter.getKey(),
                                                   parameter.getType(), parameter.getValueAttr());
      if (failed(lowered))
        return failure();
      graph.set(parameter, std::move(*lowered));
    }
    Block &body = op.getBody().front();
    if (failed(lowerNodes(body, graph)))
      return failure();
    auto terminator = cast<onnxir::ReturnOp>(body.getTerminator());
    SmallVector<Value> results;
    for (Value operand : terminator.getOperands())
      results.push_back(graph.tensor(graph.get(operand)));
    func::ReturnOp::create(b, results);
    function.setFunctionType(FunctionType::get(&getContext(), inputTypes, TypeRange(ValueRange(results))));
    describeEntry(function, op, terminator, graph.parameters);
    return success();
  }

  // Entries of several models are called as their models, which are called as their files.
  static std::string entryName(onnxir::ModelOp model, onnxir::GraphOp graph, size_t models) {
    if (models == 1)
      return graph.getSymName().str();
    auto graphs = model.getBody().getOps<onnxir::GraphOp>();
    bool only = llvm::hasSingleElement(graphs);
    return (model.getSymName() + (only ? "" : "_" + graph.getSymName())).str();
  }

  // An adapter that acts in several models is one adapter, with the updates of all.
  static void addAdapters(llvm::MapVector<Attribute, NamedAttrList> &adapters, ArrayAttr listed) {
    for (auto each : listed.getAsRange<DictionaryAttr>()) {
      NamedAttrList &known = adapters[each.get("name")];
      auto before = dyn_cast_or_null<ArrayAttr>(known.get("updates"));
      SmallVector<Attribute> updates;
      if (before)
        llvm::append_range(updates, before);
      llvm::append_range(updates, cast<ArrayAttr>(each.get("updates")));
      if (!before)
        known.append(each.begin(), each.end());
      known.set("updates", ArrayAttr::get(each.getContext(), updates));
    }
  }

  // Each site that differs by row has a bank, by number.
  void numberBanks(onnxir::ModelOp model, int64_t &banks) {
    Builder builder(&getContext());
    for (auto site : model.getBody().getOps<SiteOp>())
      if (site.getTime() == BindingTime::Row || site.getTime() == BindingTime::Call)
        site->setAttr("bank", builder.getI64IntegerAttr(banks++));
  }

  // What the artifact's manifest says of the entry, kept beside the function.
  void describeEntry(func::FuncOp function, onnxir::GraphOp op, onnxir::ReturnOp terminator,
                     ArrayRef<Attribute> parameters) {
    Builder builder(&getContext());
    SmallVector<Attribute> inputs, outputs;
    for (Value argument : op.getBody().getArguments())
      inputs.push_back(TypeAttr::get(argument.getType()));
    for (Value operand : terminator.getOperands())
      outputs.push_back(TypeAttr::get(operand.getType()));
    function->setAttr("adapter.inputs", builder.getArrayAttr(inputs));
    function->setAttr("adapter.input_names", op.getInputNames());
    function->setAttr("adapter.outputs", builder.getArrayAttr(outputs));
    if (terminator.getOutputNames())
      function->setAttr("adapter.output_names", *terminator.getOutputNames());
    function->setAttr("adapter.parameters", builder.getArrayAttr(parameters));
  }

  void runOnOperation() override {
    if (failed(checkRowInput()))
      return signalPassFailure();
    SmallVector<onnxir::ModelOp> models(getOperation().getOps<onnxir::ModelOp>());
    int64_t banks = 0;
    llvm::MapVector<Attribute, NamedAttrList> adapters;
    for (onnxir::ModelOp model : models) {
      if (failed(convert(model, models.size(), banks)))
        return signalPassFailure();
      // Sites and what acts there outlive the graph: the artifact's manifest names them.
      for (SiteOp site : llvm::make_early_inc_range(model.getBody().getOps<SiteOp>()))
        site->moveBefore(model);
      if (auto listed = model->getAttrOfType<ArrayAttr>("adapter.adapters"))
        addAdapters(adapters, listed);
      model.erase();
    }
    if (!adapters.empty()) {
      SmallVector<Attribute> all;
      for (auto &[name, fields] : adapters)
        all.push_back(fields.getDictionary(&getContext()));
      getOperation()->setAttr("adapter.adapters", ArrayAttr::get(&getContext(), all));
    }
  }
};
} // namespace
