// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// convert-onnx-to-linalg: each graph becomes a function on tensors, node by node through the table of
// lowerings. Initialisers become kernel.parameter ops, by their place in a list that the function carries.
#include "dialects/Adapter/IR/AdapterOps.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "lib/Conversion/ONNXToLinalg/Lowering.h"
#include "lib/Conversion/Passes.h"
#include "lib/Support/Quantised.h"
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
      // Tokens lie beside the rows.
      int64_t beside = axis + 1 < input.rank() ? axis + 1 : axis - 1;
      if (beside >= 0)
        graph.tokenCount = input.shape[beside];
      if (graph.tracesTokens && beside >= 0)
        input.tokens = Rows::at(beside);
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
      std::optional<int64_t> number = site.getBank();
      auto why = number ? refused.find(*number) : refused.end();
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

  struct GraphFunction {
    func::FuncOp function;
    std::unique_ptr<ImplicitLocOpBuilder> builder;
    std::unique_ptr<GraphLowering> graph;
  };

  // Lowers the graphs of a model. Room that they cannot serve shows on the way; then lowering starts over
  // without it.
  LogicalResult convert(onnxir::ModelOp model, size_t models, int64_t &banks) {
    for (;;) {
      int64_t next = banks;
      numberBanks(model, next);
      OpBuilder builder(model);
      SmallVector<GraphFunction> functions;
      std::map<int64_t, std::string> refused;
      for (auto graph : model.getBody().getOps<onnxir::GraphOp>()) {
        if (failed(lower(graph, entryName(model, graph, models), builder, functions.emplace_back())))
          return failure();
        for (const auto &[number, bank] : functions.back().graph->banks)
          if (!bank.refusal.empty())
            refused.emplace(number, bank.refusal);
      }
      if (failed(settleTokens(model, functions)))
        return failure();
      if (!leaveOut(model, refused)) {
        banks = next;
        return success();
      }
      for (GraphFunction &each : functions)
        each.function.erase();
    }
  }

  // A site where adapters cannot act token by token is one of rows, if nothing but room there wants more.
  LogicalResult settleTokens(onnxir::ModelOp model, ArrayRef<GraphFunction> functions) {
    for (SiteOp site : model.getBody().getOps<SiteOp>()) {
      std::optional<int64_t> number = site.getBank();
      if (!number || !site.getByToken())
        continue;
      SmallVector<Operation *> checks;
      std::string why;
      for (const GraphFunction &each : functions) {
        auto bank = each.graph->banks.find(*number);
        if (bank == each.graph->banks.end())
          continue;
        llvm::append_range(checks, bank->second.tokenChecks);
        if (why.empty())
          why = bank->second.tokenRefusal;
      }
      if (why.empty())
        continue;
      if (site.getByToken() != TokenUse::Room)
        return site.emitError() << "module '" << site.getModule() << "', parameter '" << site.getParameter()
                                << "': " << why;
      site.removeByTokenAttr();
      for (Operation *check : checks)
        check->erase();
    }
    return success();
  }

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
    graph.tracesTokens = llvm::any_of(op->getParentOfType<onnxir::ModelOp>().getBody().getOps<SiteOp>(),
                                      [](SiteOp site) { return site.getByToken().has_value(); });
    llvm::StringMap<OpFoldResult> named;
    for (auto [onnxInput, argument] : llvm::zip(op.getBody().getArguments(), entry->getArguments()))
      addInput(graph, onnxInput, argument, named);
    if (failed(addRows(graph, op)))
      return failure();
    for (auto parameter : op.getBody().getOps<ParameterOp>()) {
      if (parameter->use_empty())
        continue;
      FailureOr<Lowered> lowered = graph.parameter(parameter);
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
  static void moveOut(ResidentOp resident, onnxir::ModelOp model,
                      llvm::DenseMap<StringAttr, ResidentOp> &residents) {
    auto [known, isNew] = residents.try_emplace(resident.getAdapterAttr(), resident);
    if (isNew)
      return resident->moveBefore(model);
    Block &to = known->second.getBody().front(), &from = resident.getBody().front();
    to.getOperations().splice(to.end(), from.getOperations());
    resident.erase();
  }

  // Sites of products whose weight is none of f32: nothing rounds it again, so that what is switched in, or was known at
  // build, acts beside it, as what a call names does.
  llvm::DenseSet<Operation *> sitesBeside(onnxir::ModelOp model) {
    llvm::DenseSet<Operation *> beside;
    model->walk([&](MaterializeOp op) {
      auto select = op.getUpdate().getDefiningOp<SelectOp>();
      auto site = select ? SymbolTable::lookupNearestSymbolFrom<SiteOp>(op, select.getSiteAttr()) : SiteOp();
      Value weight = op.getWeight();
      while (auto inner = weight.getDefiningOp<MaterializeOp>())
        weight = inner.getWeight();
      auto parameter = weight.getDefiningOp<ParameterOp>();
      bool isProduct = site && site.getKind() == SiteKind::Linear && !site.getTaps();
      if (isProduct && parameter && (narrow || parameter->hasAttr(quantisedAttribute)))
        beside.insert(site);
    });
    return beside;
  }

  // Each site that differs by row has a bank, by number, and so has each whose weight stays as it is.
  void numberBanks(onnxir::ModelOp model, int64_t &banks) {
    llvm::DenseSet<Operation *> beside = sitesBeside(model);
    for (auto site : model.getBody().getOps<SiteOp>())
      if (site.getTime() == BindingTime::Row || site.getTime() == BindingTime::Call ||
          (site.getTime() != BindingTime::Load && beside.contains(site)))
        site.setBank(banks++);
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
    function->setAttr(inputsAttribute, builder.getArrayAttr(inputs));
    function->setAttr(inputNamesAttribute, op.getInputNames());
    function->setAttr(outputsAttribute, builder.getArrayAttr(outputs));
    if (terminator.getOutputNames())
      function->setAttr(outputNamesAttribute, *terminator.getOutputNames());
    function->setAttr(parametersAttribute, builder.getArrayAttr(parameters));
    if (Attribute session = op->getAttr(onnxir::sessionAttribute))
      function->setAttr(onnxir::sessionAttribute, session);
  }

  void runOnOperation() override {
    if (failed(checkRowInput()))
      return signalPassFailure();
    SmallVector<onnxir::ModelOp> models(getOperation().getOps<onnxir::ModelOp>());
    int64_t banks = 0;
    llvm::DenseMap<StringAttr, ResidentOp> residents;
    for (onnxir::ModelOp model : models) {
      if (failed(convert(model, models.size(), banks)))
        return signalPassFailure();
      // Sites and what acts there outlive the graph: the artifact's manifest names them.
      for (SiteOp site : llvm::make_early_inc_range(model.getBody().getOps<SiteOp>()))
        site->moveBefore(model);
      for (AttachmentOp each : llvm::make_early_inc_range(model.getBody().getOps<AttachmentOp>())) {
        if (models.size() > 1)
          each.setGraph(model.getSymName());
        each->moveBefore(model);
      }
      for (ResidentOp each : llvm::make_early_inc_range(model.getBody().getOps<ResidentOp>()))
        moveOut(each, model, residents);
      model.erase();
    }
  }
};
} // namespace
