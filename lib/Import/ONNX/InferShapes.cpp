// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Shape inference: the model is exported without its big tensors, ONNX's library infers, and the types come
// back, by the names that export gave the values.
#include "lib/Export/ONNX/GraphExporter.h"
#include "lib/Import/ONNX/Passes.h"
#include "lib/Import/ONNX/RunInference.h"
#include "lib/Support/ONNX/Types.h"
#include "mlir/IR/Builders.h"

#define DEBUG_TYPE "onnx-infer-shapes"

namespace adapter {
#define GEN_PASS_DEF_ONNXINFERSHAPESPASS
#include "lib/Import/ONNX/Passes.h.inc"
} // namespace adapter

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;

// Beyond, no tensor holds a shape; inference does without it.
static constexpr int64_t maxShapeBytes = 4096;

namespace {
class TypesBack {
public:
  explicit TypesBack(GraphExporter &exporter) : exporter(exporter) {}

  void graph(Block &block, const ::onnx::GraphProto &proto) {
    llvm::StringMap<const ::onnx::TypeProto *> types;
    for (const auto *infos : {&proto.input(), &proto.value_info(), &proto.output()})
      for (const auto &info : *infos)
        if (info.has_type())
          types.try_emplace(info.name(), &info.type());
    for (Value argument : block.getArguments())
      set(argument, types);
    for (Operation &op : block)
      if (isa<onnxir::NodeOp, ActOp>(op))
        for (Value result : op.getResults())
          set(result, types);
    for (auto node : block.getOps<onnxir::NodeOp>())
      subgraphs(node);
  }

  unsigned changed = 0;

private:
  void set(Value value, const llvm::StringMap<const ::onnx::TypeProto *> &types) {
    auto name = exporter.names.find(value);
    const ::onnx::TypeProto *type = name == exporter.names.end() ? nullptr : types.lookup(name->second);
    if (!type || isa<NoneType>(value.getType()))
      return;
    checkpoint::Result<Type> inferred = importType(*type, value.getContext());
    if (!inferred)
      return;
    Type combined = combineTypes(value.getType(), *inferred);
    changed += combined != value.getType();
    value.setType(combined);
  }

  void subgraphs(onnxir::NodeOp node) {
    const ::onnx::NodeProto *proto = exporter.nodes.lookup(node);
    for (auto [i, region] : llvm::enumerate(node.getGraphs())) {
      auto [name, rest] = cast<StringAttr>((*node.getRegionNames())[i]).getValue().split('[');
      int at = 0;
      if (!rest.empty() && rest.drop_back().getAsInteger(10, at))
        continue;
      for (const auto &attribute : proto->attribute())
        if (attribute.name() == name && rest.empty())
          graph(region.front(), attribute.g());
        else if (attribute.name() == name && at < attribute.graphs_size())
          graph(region.front(), attribute.graphs(at));
    }
  }

  GraphExporter &exporter;
};
} // namespace

// Values that have a type now get a value_info: the list of those of the file grows, or goes where nothing
// but names stands in it, which means all.
static DictionaryAttr extendValues(DictionaryAttr info, Block &block) {
  auto listed = info ? info.getAs<ArrayAttr>("values") : ArrayAttr();
  if (!listed)
    return info;
  NamedAttrList changed(info);
  if (llvm::all_of(listed, [](Attribute each) { return isa<StringAttr>(each); })) {
    changed.erase("values");
    return changed.getDictionary(info.getContext());
  }
  llvm::StringSet<> present;
  for (Attribute each : listed) {
    auto list = dyn_cast<ArrayAttr>(each);
    if (auto name = dyn_cast<StringAttr>(list && !list.empty() ? list[0] : each))
      present.insert(name.getValue());
  }
  if (ArrayAttr outputs = cast<onnxir::ReturnOp>(block.getTerminator()).getOutputNamesAttr())
    for (auto name : outputs.getAsRange<StringAttr>())
      present.insert(name.getValue());
  SmallVector<Attribute> all(listed.getValue());
  for (auto node : block.getOps<onnxir::NodeOp>())
    for (auto [name, result] : llvm::zip(node.getResultNames().getAsRange<StringAttr>(), node.getResults()))
      if (!isa<NoneType, onnxir::UnknownType>(result.getType()) && present.insert(name.getValue()).second)
        all.push_back(name);
  changed.set("values", ArrayAttr::get(info.getContext(), all));
  return changed.getDictionary(info.getContext());
}

static void setInfo(Operation *op, DictionaryAttr info) {
  if (!info || info.empty())
    op->removeAttr("info");
  else
    op->setAttr("info", info);
}

// Splits a shape into its numbers, multiplied, and the names of its other sizes. Whether all of them have one.
static bool factorsOf(RankedTensorType type, int64_t &known, SmallVectorImpl<StringAttr> &names) {
  auto dims = dyn_cast_or_null<onnxir::DimsAttr>(type.getEncoding());
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    if (!type.isDynamicDim(dim))
      known *= type.getDimSize(dim);
    else if (StringAttr name = dims ? dims.getNames()[dim] : StringAttr(); name && !name.getValue().empty())
      names.push_back(name);
    else
      return false;
  }
  return true;
}

// The one size of a Reshape that inference only has a new name for, where all other varying sizes are those of its
// operand: the number that is left. Exporters leave the number of heads so.
static bool settleReshape(onnxir::NodeOp node) {
  if (node.getOpType() != "Reshape" || !node.getDomain().empty() || node.getInputs().empty())
    return false;
  auto from = dyn_cast<RankedTensorType>(node.getInputs()[0].getType());
  auto to = dyn_cast<RankedTensorType>(node.getResult(0).getType());
  int64_t given = 1, made = 1;
  SmallVector<StringAttr> operand, result;
  if (!from || !to || !factorsOf(from, given, operand) || !factorsOf(to, made, result) || !made ||
      given % made)
    return false;
  for (StringAttr name : operand) {
    auto *same = llvm::find(result, name);
    if (same == result.end())
      return false;
    result.erase(same);
  }
  if (result.size() != 1)
    return false;
  SmallVector<int64_t> shape(to.getShape());
  SmallVector<StringAttr> names(cast<onnxir::DimsAttr>(to.getEncoding()).getNames());
  // The operand's sizes were taken out by name; one that is left and stands elsewhere in the result, too, is not new.
  auto *place = llvm::find(names, result.front());
  if (llvm::count(names, result.front()) != 1)
    return false;
  shape[place - names.begin()] = given / made;
  *place = StringAttr::get(node.getContext());
  node.getResult(0).setType(
      RankedTensorType::get(shape, to.getElementType(), onnxir::DimsAttr::get(node.getContext(), names)));
  return true;
}

static FailureOr<unsigned> inferOnce(onnxir::ModelOp model) {
  ::onnx::ModelProto proto;
  GraphExporter exporter(model, maxShapeBytes);
  if (checkpoint::Status status = exporter.exportModel(proto); !status)
    return model.emitError(status.error().message);
  if (std::string missing = findMissingInput(proto); !missing.empty())
    return model.emitError(missing);
  std::string message = runShapeInference(proto);
  if (!message.empty())
    model.emitWarning("shape inference stopped early: ") << message;
  TypesBack back(exporter);
  for (auto graph : model.getBody().front().getOps<onnxir::GraphOp>()) {
    back.graph(graph.getBody().front(), proto.graph());
    setInfo(graph, extendValues(graph.getInfoAttr(), graph.getBody().front()));
    graph.walk([&](onnxir::NodeOp node) {
      if (!node.getNumRegions() || !node.getInfo())
        return;
      NamedAttrList info(*node.getInfo());
      for (auto [name, region] : llvm::zip(node.getRegionNames()->getAsRange<StringAttr>(), node.getGraphs()))
        if (auto each = node.getInfo()->getAs<DictionaryAttr>(name)) {
          DictionaryAttr extended = extendValues(each, region.front());
          extended.empty() ? void(info.erase(name)) : void(info.set(name, extended));
        }
      setInfo(node, info.getDictionary(node.getContext()));
    });
  }
  return back.changed;
}

FailureOr<unsigned> adapter::inferShapes(onnxir::ModelOp model) {
  FailureOr<unsigned> changed = inferOnce(model);
  unsigned settled = 0;
  if (succeeded(changed))
    model.walk([&](onnxir::NodeOp node) { settled += settleReshape(node); });
  if (!settled)
    return changed;
  // What reads them can be known better, too.
  FailureOr<unsigned> again = inferOnce(model);
  return failed(again) ? again : FailureOr<unsigned>(*changed + settled + *again);
}

namespace {
struct ONNXInferShapesPass final : adapter::impl::ONNXInferShapesPassBase<ONNXInferShapesPass> {
  using ONNXInferShapesPassBase::ONNXInferShapesPassBase;

  void runOnOperation() override {
    for (auto model : getOperation().getOps<onnxir::ModelOp>()) {
      FailureOr<unsigned> changed = inferShapes(model);
      if (failed(changed))
        return signalPassFailure();
      numTyped += *changed;
    }
  }
};
} // namespace
