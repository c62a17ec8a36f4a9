// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Models, graphs and functions. Values get the names of the interface first, then those of parameters and
// nodes; a name that is taken gets a number behind it. Messages start from the text that import kept.
#include "lib/Export/ONNX/GraphExporter.h"
#include "lib/Support/ONNX/Attachments.h"
#include "lib/Support/ONNX/Residue.h"
#include "lib/Support/ONNX/Tensors.h"
#include "lib/Support/ONNX/Types.h"
#include "mlir/Transforms/RegionUtils.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

GraphExporter::GraphExporter(onnxir::ModelOp model, int64_t maxContents)
    : model(model), store(ParameterStore::get(model.getContext())), maxContents(maxContents) {}

template <typename Message>
Status GraphExporter::restore(StringRef text, Message &message, StringRef place) {
  if (text.empty() || fromText(text, message, store))
    return Done{};
  return Error{place.str() + ": its 'extra' is no " + message.GetTypeName() +
               ", or refers to a tensor that is not there"};
}

static StringRef extraOf(DictionaryAttr info) {
  auto text = info ? info.getAs<StringAttr>("extra") : StringAttr();
  return text ? text.getValue() : StringRef();
}

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

void GraphExporter::assign(Value value, StringRef wanted, Scope &scope) {
  std::string name = wanted.empty() ? "value" : wanted.str();
  for (int i = 1; !scope.taken.insert(name).second; ++i)
    name = (wanted.empty() ? "value" : wanted.str()) + "_" + std::to_string(i);
  names[value] = name;
}

void GraphExporter::nameValues(Region &region, ArrayAttr inputNames, Scope &scope) {
  // A name of a graph around this one may be used again unless that value is read here.
  llvm::SetVector<Value> captured;
  getUsedValuesDefinedAbove(region, captured);
  for (Value value : captured)
    scope.taken.insert(names.lookup(value));
  Block &block = region.front();
  for (auto [i, argument] : llvm::enumerate(block.getArguments()))
    assign(argument, inputNames && i < inputNames.size() ? cast<StringAttr>(inputNames[i]).getValue() : "",
           scope);
  auto end = cast<onnxir::ReturnOp>(block.getTerminator());
  if (ArrayAttr outputs = end.getOutputNamesAttr())
    for (auto [name, value] : llvm::zip(outputs.getAsRange<StringAttr>(), end.getOperands())) {
      bool here = value.getParentBlock() == &block && !names.count(value);
      if (here && !isa<NoneType>(value.getType()) && !name.empty() && !scope.taken.contains(name.getValue()))
        assign(value, name.getValue(), scope);
      else
        scope.taken.insert(name.getValue()); // an Identity will compute it
    }
  // Parameters keep their names rather than nodes: those are what people look for.
  for (auto parameter : block.getOps<ParameterOp>()) {
    if (names.count(parameter.getResult()))
      continue;
    std::string name = parameter.getKey().str();
    ::onnx::TensorProto extra;
    if (parameter.getExtra() && isa<TensorType>(parameter.getType()) &&
        fromText(*parameter.getExtra(), extra, store) && !extra.name().empty())
      name = extra.name();
    ::onnx::SparseTensorProto sparse;
    if (parameter.getExtra() && isa<onnxir::SparseTensorType>(parameter.getType()) &&
        fromText(*parameter.getExtra(), sparse, store))
      name = sparse.values().name();
    assign(parameter.getResult(), name, scope);
  }
  for (auto node : block.getOps<onnxir::NodeOp>())
    for (auto [name, result] : llvm::zip(node.getResultNames().getAsRange<StringAttr>(), node.getResults()))
      if (!isa<NoneType>(result.getType()) && !names.count(result))
        assign(result, name.getValue(), scope);
}

//===----------------------------------------------------------------------===//
// ValueInfos
//===----------------------------------------------------------------------===//

Status GraphExporter::exportValueInfo(StringRef name, Type type, Attribute typeThen, Attribute text,
                                      ::onnx::ValueInfoProto &proto) {
  bool unchanged = false;
  if (auto string = dyn_cast_or_null<StringAttr>(text)) {
    if (Status status = restore(string.getValue(), proto, name); !status)
      return status;
    auto then = dyn_cast_or_null<TypeAttr>(typeThen);
    unchanged = then && then.getValue() == type;
  }
  proto.set_name(name.str());
  if (unchanged)
    return Done{};
  proto.clear_type();
  if (!isa<onnxir::UnknownType>(type))
    exportType(type, *proto.mutable_type());
  return Done{};
}

Status GraphExporter::exportInterface(Block &block, DictionaryAttr info, ::onnx::GraphProto &graph) {
  auto left = [&](StringRef kind, StringRef name) -> ArrayAttr {
    auto entries = info ? info.getAs<DictionaryAttr>(kind) : DictionaryAttr();
    auto pair = entries ? entries.getAs<ArrayAttr>(name) : ArrayAttr();
    return pair && pair.size() == 2 ? pair : ArrayAttr();
  };
  auto add = [&](StringRef kind, Value value, StringRef name, ::onnx::ValueInfoProto *proto) {
    ArrayAttr pair = left(kind, name);
    return exportValueInfo(name, value.getType(), pair ? pair[0] : Attribute(), pair ? pair[1] : Attribute(),
                           *proto);
  };
  // Initialisers that are inputs too stand among them in the old order.
  llvm::StringMap<Value> parameters;
  for (auto parameter : block.getOps<ParameterOp>())
    parameters[names[parameter.getResult()]] = parameter.getResult();
  llvm::StringSet<> done;
  auto order = info ? info.getAs<ArrayAttr>("input_order") : ArrayAttr();
  unsigned next = 0;
  for (Attribute each : order ? order.getValue() : ArrayRef<Attribute>()) {
    StringRef name = isa<StringAttr>(each) ? cast<StringAttr>(each).getValue() : "";
    Value value = parameters.lookup(name);
    if (!value && next < block.getNumArguments() && names[block.getArgument(next)] == name)
      value = block.getArgument(next++);
    if (!value || !done.insert(name).second)
      continue;
    if (Status status = add("inputs", value, name, graph.add_input()); !status)
      return status;
  }
  for (Value argument : block.getArguments())
    if (done.insert(names[argument]).second)
      if (Status status = add("inputs", argument, names[argument], graph.add_input()); !status)
        return status;
  auto end = cast<onnxir::ReturnOp>(block.getTerminator());
  for (auto [i, value] : llvm::enumerate(end.getOperands())) {
    StringRef name = names[value];
    if (ArrayAttr outputs = end.getOutputNamesAttr(); outputs && i < outputs.size())
      name = cast<StringAttr>(outputs[i]).getValue();
    if (Status status = add("outputs", value, name, graph.add_output()); !status)
      return status;
  }
  return Done{};
}

template <typename Proto>
Status GraphExporter::exportValueInfos(Block &block, DictionaryAttr info, Proto &proto) {
  llvm::StringMap<Value> values;
  auto record = [&](Value value) {
    if (auto name = names.find(value); name != names.end())
      values[name->second] = value;
  };
  for (Value argument : block.getArguments())
    record(argument);
  for (Operation &op : block)
    for (Value result : op.getResults())
      record(result);
  llvm::StringSet<> outputs;
  auto end = cast<onnxir::ReturnOp>(block.getTerminator());
  if (ArrayAttr outputNames = end.getOutputNamesAttr())
    for (auto name : outputNames.getAsRange<StringAttr>())
      outputs.insert(name.getValue());
  auto listed = info ? info.getAs<ArrayAttr>("values") : ArrayAttr();
  if (!listed) {
    for (auto node : block.getOps<onnxir::NodeOp>())
      for (Value result : node.getResults())
        if (!isa<NoneType, onnxir::UnknownType>(result.getType()) && !outputs.contains(names[result]))
          if (Status status =
                  exportValueInfo(names[result], result.getType(), {}, {}, *proto.add_value_info());
              !status)
            return status;
    return Done{};
  }
  for (Attribute each : listed) {
    auto triple = dyn_cast<ArrayAttr>(each);
    if (triple && triple.size() != 3)
      continue;
    auto name = dyn_cast<StringAttr>(triple ? triple[0] : each);
    Value value = name ? values.lookup(name.getValue()) : Value();
    // Entries of values that were never there (some exporters leave them) stay; those of values that passes
    // have removed go.
    auto then = triple ? dyn_cast<TypeAttr>(triple[1]) : TypeAttr();
    if (!value && !(then && isa<onnxir::UnknownType>(then.getValue())))
      continue;
    Type type = value ? value.getType() : then.getValue();
    if (Status status = exportValueInfo(name.getValue(), type, triple ? triple[1] : Attribute(),
                                        triple ? triple[2] : Attribute(), *proto.add_value_info());
        !status)
      return status;
  }
  return Done{};
}

//===----------------------------------------------------------------------===//
// Bodies
//===----------------------------------------------------------------------===//

template <typename Proto>
Status GraphExporter::exportNodes(Block &block, Proto &proto, Scope &scope) {
  for (Operation &op : block.without_terminator()) {
    if (isa<ParameterOp, onnxir::AbsentOp>(op))
      continue;
    // Shape inference alone sees adapters: an updated weight has the type of the weight.
    if (auto materialize = dyn_cast<MaterializeOp>(op); materialize && shapesOnly()) {
      std::string name = names[materialize.getWeight()];
      names[materialize.getResult()] = std::move(name);
      continue;
    }
    // So has a value that a module acts on.
    if (auto act = dyn_cast<ActOp>(op); act && shapesOnly()) {
      std::string name = names[act.getBase()];
      names[act.getResult()] = std::move(name);
      continue;
    }
    if (isa<UpdateOpInterface>(op) && shapesOnly())
      continue;
    // Experts give what their own type says.
    if (auto experts = dyn_cast<ExpertsOp>(op); experts && shapesOnly()) {
      std::string name = "adapter.experts." + std::to_string(names.size());
      if (Status status = exportValueInfo(name, experts.getType(), {}, {}, *proto.add_value_info()); !status)
        return status;
      names[experts.getResult()] = std::move(name);
      continue;
    }
    auto node = dyn_cast<onnxir::NodeOp>(op);
    if (!node)
      return Error{
          "an op '" + op.getName().getStringRef().str() +
          "' stands in the graph, which ONNX has not; only onnx.node and adapter.parameter can be exported"};
    ::onnx::NodeProto *message = proto.add_node();
    nodes[node] = message;
    if (Status status = exportNode(node, *message); !status) {
      StringRef name = node.getNodeName() ? *node.getNodeName() : StringRef();
      return Error{"node '" + name.str() + "' (" + node.getOpType().str() + "): " + status.error().message};
    }
  }
  auto end = cast<onnxir::ReturnOp>(block.getTerminator());
  ArrayAttr outputs = end.getOutputNamesAttr();
  llvm::StringSet<> copied;
  for (auto [i, value] : llvm::enumerate(end.getOperands())) {
    if (!outputs || i >= outputs.size() || isa<NoneType>(value.getType()))
      continue;
    StringRef name = cast<StringAttr>(outputs[i]).getValue();
    if (names[value] == name || !copied.insert(name).second)
      continue;
    ::onnx::NodeProto *identity = proto.add_node();
    identity->set_op_type("Identity");
    if (model.getExplicitDomains())
      identity->set_domain("");
    identity->add_input(names[value]);
    identity->add_output(name.str());
  }
  return Done{};
}

Status GraphExporter::exportGraph(Region &region, ArrayAttr inputNames, DictionaryAttr info,
                                  ::onnx::GraphProto &graph) {
  Scope scope;
  nameValues(region, inputNames, scope);
  Block &block = region.front();
  Status status = restore(extraOf(info), graph, "graph");
  for (auto parameter : block.getOps<ParameterOp>())
    if (status)
      status = exportParameter(parameter, graph);
  if (status)
    status = exportNodes(block, graph, scope);
  if (status)
    status = exportInterface(block, info, graph);
  if (status)
    status = exportValueInfos(block, info, graph);
  return status;
}

static void exportOpsets(ArrayAttr opsets,
                         google::protobuf::RepeatedPtrField<::onnx::OperatorSetIdProto> &list) {
  // What import kept (fields left unset) holds as long as it says the same.
  bool same = static_cast<size_t>(list.size()) * 2 == opsets.size();
  for (int i = 0; same && i < list.size(); ++i)
    same = cast<StringAttr>(opsets[2 * i]).getValue() == list[i].domain() &&
           cast<IntegerAttr>(opsets[2 * i + 1]).getInt() == list[i].version();
  if (same)
    return;
  list.Clear();
  for (size_t i = 0; i + 1 < opsets.size(); i += 2) {
    auto *each = list.Add();
    each->set_domain(cast<StringAttr>(opsets[i]).str());
    each->set_version(cast<IntegerAttr>(opsets[i + 1]).getInt());
  }
}

Status GraphExporter::exportFunction(onnxir::FunctionOp function, ::onnx::FunctionProto &proto) {
  Scope scope;
  DictionaryAttr info = function.getInfoAttr();
  nameValues(function.getBody(), function.getInputNames(), scope);
  Block &block = function.getBody().front();
  if (Status status = restore(extraOf(info), proto, "function"); !status)
    return status;
  proto.set_name(function.getFunctionName().str());
  if (!function.getDomain().empty())
    proto.set_domain(function.getDomain().str());
  if (function.getOpsets())
    exportOpsets(*function.getOpsets(), *proto.mutable_opset_import());
  for (Value argument : block.getArguments())
    proto.add_input(names[argument]);
  // Functions have no initialisers.
  for (auto parameter : block.getOps<ParameterOp>()) {
    ::onnx::GraphProto holder;
    if (Status status = exportParameter(parameter, holder); !status)
      return status;
    ::onnx::NodeProto *constant = proto.add_node();
    constant->set_op_type("Constant");
    constant->add_output(names[parameter.getResult()]);
    auto *attribute = constant->add_attribute();
    attribute->set_name("value");
    attribute->set_type(::onnx::AttributeProto::TENSOR);
    if (!holder.initializer_size())
      return Error{"it holds a sparse parameter, which functions have not"};
    if (maxContents < 0)
      writeTensor(initializers.back().second, *initializers.back().first);
    initializers.pop_back();
    attribute->mutable_t()->Swap(holder.mutable_initializer(0));
  }
  if (Status status = exportNodes(block, proto, scope); !status)
    return status;
  auto end = cast<onnxir::ReturnOp>(block.getTerminator());
  for (auto [i, value] : llvm::enumerate(end.getOperands())) {
    ArrayAttr outputs = end.getOutputNamesAttr();
    proto.add_output(outputs && i < outputs.size() ? cast<StringAttr>(outputs[i]).str() : names[value]);
  }
  return exportValueInfos(block, info, proto);
}

Status GraphExporter::exportModel(::onnx::ModelProto &proto) {
  if (model.getExtra())
    if (Status status = restore(*model.getExtra(), proto, "model"); !status)
      return status;
  if (model.getIrVersion())
    proto.set_ir_version(model.getIrVersion());
  exportOpsets(model.getOpsets(), *proto.mutable_opset_import());
  if (shapesOnly()) {
    auto *unknown = proto.add_opset_import();
    unknown->set_domain(unknownDomain);
    unknown->set_version(1);
  }
  if (std::string text = attachmentsText(model); !text.empty()) {
    auto *entry = proto.add_metadata_props();
    entry->set_key(attachmentsKey);
    entry->set_value(text);
  }
  auto graphs = model.getBody().front().getOps<onnxir::GraphOp>();
  if (!llvm::hasSingleElement(graphs))
    return Error{"a model needs exactly one onnx.graph to be exported"};
  onnxir::GraphOp graph = *graphs.begin();
  if (Status status =
          exportGraph(graph.getBody(), graph.getInputNames(), graph.getInfoAttr(), *proto.mutable_graph());
      !status)
    return status;
  for (auto function : model.getBody().front().getOps<onnxir::FunctionOp>())
    if (Status status = exportFunction(function, *proto.add_functions()); !status)
      return Error{"function '" + function.getFunctionName().str() + "': " + status.error().message};
  return Done{};
}
