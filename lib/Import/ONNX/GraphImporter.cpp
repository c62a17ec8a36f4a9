// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Graphs: initialisers, inputs, outputs and value_info. What their messages say beyond the IR goes to the
// dictionary `info`, whose entries stand in README.md of this folder.
#include "lib/Import/ONNX/GraphImporter.h"
#include "dialects/Adapter/IR/AdapterOps.h"
#include "lib/Checkpoint/Work.h"
#include "lib/Import/ONNX/GraphBody.h"
#include "lib/Support/ONNX/Residue.h"
#include "lib/Support/ONNX/Types.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

Status GraphImporter::define(StringRef name, Value value, Body &body) {
  if (name.empty())
    return Error{"a value has no name"};
  if (!body.names.values.try_emplace(name, value).second)
    return Error{"value '" + name.str() + "' is defined twice; names of a graph must be unique"};
  return Done{};
}

Value GraphImporter::absent(Body &body) {
  if (!body.absent) {
    OpBuilder::InsertionGuard guard(body.builder);
    body.builder.setInsertionPointToStart(body.block);
    body.absent = onnxir::AbsentOp::create(body.builder, builder.getUnknownLoc());
  }
  return body.absent;
}

// Null where {name, type} is all that the message says; else [type, text]. Export takes the text as it is
// unless a pass has changed the value's type meanwhile.
Result<Attribute> GraphImporter::leftOver(::onnx::ValueInfoProto &info, Type type) {
  ::onnx::ValueInfoProto plain;
  plain.set_name(info.name());
  if (!isa<onnxir::UnknownType>(type))
    exportType(type, *plain.mutable_type());
  if (plain.SerializeAsString() == info.SerializeAsString())
    return Attribute();
  Result<std::string> text = toText(info, tensors);
  if (!text)
    return text.error();
  return Attribute(builder.getArrayAttr({TypeAttr::get(type), builder.getStringAttr(*text)}));
}

Status GraphImporter::readTypes(const ValueInfos &infos, Body &body) {
  for (const auto &info : infos) {
    if (!info.has_type())
      continue;
    Result<Type> type = importType(info.type(), builder.getContext());
    if (!type)
      return Error{"value '" + info.name() + "': " + type.error().message};
    Type &known = body.types[info.name()];
    known = combineTypes(known, *type);
  }
  return Done{};
}

Status GraphImporter::importInitializers(::onnx::GraphProto &graph, Body &body) {
  auto create = [&](StringRef key, Type type, ElementsAttr value, StringRef extra) {
    Location location = NameLoc::get(builder.getStringAttr(key));
    OperationState state(location, ParameterOp::getOperationName());
    state.addAttribute("scope", builder.getStringAttr(tensors.scope));
    state.addAttribute("key", builder.getStringAttr(key));
    if (value)
      state.addAttribute("value", value);
    if (!extra.empty())
      state.addAttribute("extra", builder.getStringAttr(extra));
    state.addTypes(type);
    return body.builder.create(state)->getResult(0);
  };
  for (::onnx::TensorProto &proto : *graph.mutable_initializer()) {
    if (checkpoint::isCancelled())
      return checkpoint::cancelledError();
    std::string place = "initialiser '" + proto.name() + "'";
    Result<Tensor> tensor = tensors.read(proto);
    if (!tensor)
      return within(place, tensor.error());
    std::string key = tensors.claimKey(proto.name());
    std::vector<int> covered = tensorFields(proto);
    if (key == proto.name())
      covered.push_back(::onnx::TensorProto::kNameFieldNumber);
    Result<std::string> extra = residueOf(proto, covered, tensors);
    if (!extra)
      return within(place, extra.error());
    Value value = create(key, tensorTypeOf(*tensor, builder.getContext()),
                         inlineValue(*tensor, builder.getContext()), *extra);
    if (tensor->data)
      tensors.store.set(tensors.scope, key, std::move(*tensor));
    if (Status status = define(proto.name(), value, body); !status)
      return within(place, status.error());
  }
  for (::onnx::SparseTensorProto &proto : *graph.mutable_sparse_initializer()) {
    const std::string &name = proto.values().name();
    std::string place = "sparse initialiser '" + name + "'";
    ::onnx::TypeProto type;
    type.mutable_sparse_tensor_type()->set_elem_type(proto.values().data_type());
    for (int64_t dim : proto.dims())
      type.mutable_sparse_tensor_type()->mutable_shape()->add_dim()->set_dim_value(dim);
    Result<Type> imported = importType(type, builder.getContext());
    if (!imported)
      return within(place, imported.error());
    std::string key = tensors.claimKey(name);
    Result<std::string> extra = residueOf(proto, {}, tensors);
    if (!extra)
      return within(place, extra.error());
    if (Status status = define(name, create(key, *imported, {}, *extra), body); !status)
      return within(place, status.error());
  }
  return Done{};
}

Status GraphImporter::importInputs(::onnx::GraphProto &graph, Body &body) {
  NamedAttrList left;
  SmallVector<Attribute> order;
  llvm::StringSet<> seen;
  bool initialised = false;
  for (::onnx::ValueInfoProto &info : *graph.mutable_input()) {
    if (!seen.insert(info.name()).second)
      return Error{"input '" + info.name() + "' is there twice"};
    order.push_back(builder.getStringAttr(info.name()));
    // An initialiser that is an input too is the input's default: the parameter stands for both.
    Value value = body.names.values.lookup(info.name());
    if (value) {
      initialised = true;
    } else {
      Result<Type> type = importType(info.type(), builder.getContext());
      if (!type)
        return within("input '" + info.name() + "'", type.error());
      value = body.block->addArgument(*type, NameLoc::get(builder.getStringAttr(info.name())));
      body.inputNames.push_back(order.back());
      if (Status status = define(info.name(), value, body); !status)
        return within("input", status.error());
    }
    Result<Attribute> rest = leftOver(info, value.getType());
    if (!rest)
      return within("input '" + info.name() + "'", rest.error());
    if (*rest)
      left.set(info.name(), *rest);
  }
  if (initialised)
    body.info.set("input_order", builder.getArrayAttr(order));
  if (!left.empty())
    body.info.set("inputs", left.getDictionary(builder.getContext()));
  return Done{};
}

Status GraphImporter::importOutputs(::onnx::GraphProto &graph, Body &body) {
  SmallVector<Value> operands;
  SmallVector<Attribute> names;
  NamedAttrList left;
  for (::onnx::ValueInfoProto &info : *graph.mutable_output()) {
    Value value = body.names.lookup(info.name());
    if (!value)
      return Error{"output '" + info.name() + "' is computed by no node and is no input or initialiser"};
    operands.push_back(value);
    names.push_back(builder.getStringAttr(info.name()));
    Result<Attribute> rest = leftOver(info, value.getType());
    if (!rest)
      return within("output '" + info.name() + "'", rest.error());
    if (*rest && !info.name().empty())
      left.set(info.name(), *rest);
  }
  if (!left.empty())
    body.info.set("outputs", left.getDictionary(builder.getContext()));
  OperationState state(builder.getUnknownLoc(), onnxir::ReturnOp::getOperationName());
  state.addOperands(operands);
  if (!names.empty())
    state.addAttribute("output_names", builder.getArrayAttr(names));
  body.builder.create(state);
  return Done{};
}

// Entry `values`: names in the order of the file, each with what is left over. No entry: every result of a
// node that is no output and whose type is known, in order, which is what shape inference writes.
Status GraphImporter::listValueInfos(ValueInfos &infos, Body &body) {
  SmallVector<Attribute> listed, usual;
  llvm::StringSet<> outputs;
  Operation *end = body.block->getTerminator();
  if (auto names = cast<onnxir::ReturnOp>(end).getOutputNames())
    for (StringAttr name : names->getAsRange<StringAttr>())
      outputs.insert(name.getValue());
  for (auto node : body.block->getOps<onnxir::NodeOp>())
    for (auto [name, result] : llvm::zip(node.getResultNames().getAsRange<StringAttr>(), node.getResults()))
      if (!isa<NoneType, onnxir::UnknownType>(result.getType()) && !outputs.contains(name.getValue()))
        usual.push_back(name);
  for (::onnx::ValueInfoProto &info : infos) {
    Value value = body.names.values.lookup(info.name());
    Type type = value ? value.getType() : onnxir::UnknownType::get(builder.getContext());
    Result<Attribute> rest = leftOver(info, type);
    if (!rest)
      return within("value_info '" + info.name() + "'", rest.error());
    Attribute name = builder.getStringAttr(info.name());
    if (*rest) {
      auto pair = cast<ArrayAttr>(*rest);
      listed.push_back(builder.getArrayAttr({name, pair[0], pair[1]}));
    } else {
      listed.push_back(name);
    }
  }
  if (listed != usual)
    body.info.set("values", builder.getArrayAttr(listed));
  return Done{};
}

Status GraphImporter::importGraph(::onnx::GraphProto &graph, Region &region, const NameScope *outer,
                                  NamedAttrList &info, ArrayAttr &inputNames) {
  Body body(region, outer, builder.getContext());
  Status status = readTypes(graph.value_info(), body);
  if (status)
    status = readTypes(graph.output(), body);
  if (status)
    status = importInitializers(graph, body);
  if (status)
    status = importInputs(graph, body);
  if (status)
    status = importNodes(*graph.mutable_node(), body);
  if (status)
    status = importOutputs(graph, body);
  if (status)
    status = listValueInfos(*graph.mutable_value_info(), body);
  if (!status)
    return status;
  using G = ::onnx::GraphProto;
  Result<std::string> extra =
      residueOf(graph,
                {G::kNodeFieldNumber, G::kInitializerFieldNumber, G::kSparseInitializerFieldNumber,
                 G::kInputFieldNumber, G::kOutputFieldNumber, G::kValueInfoFieldNumber},
                tensors);
  if (!extra)
    return extra.error();
  if (!extra->empty())
    body.info.set("extra", builder.getStringAttr(*extra));
  info = std::move(body.info);
  inputNames = builder.getArrayAttr(body.inputNames);
  return Done{};
}

Status GraphImporter::importFunction(::onnx::FunctionProto &function, Region &region, NamedAttrList &info,
                                     ArrayAttr &inputNames) {
  Body body(region, nullptr, builder.getContext());
  body.inFunction = true;
  if (Status status = readTypes(function.value_info(), body); !status)
    return status;
  for (const std::string &name : function.input()) {
    Type type = body.types.lookup(name);
    Value value = body.block->addArgument(type ? type : onnxir::UnknownType::get(builder.getContext()),
                                          NameLoc::get(builder.getStringAttr(name)));
    body.inputNames.push_back(builder.getStringAttr(name));
    if (Status status = define(name, value, body); !status)
      return status;
  }
  if (Status status = importNodes(*function.mutable_node(), body); !status)
    return status;
  SmallVector<Value> operands;
  SmallVector<Attribute> names;
  for (const std::string &name : function.output()) {
    Value value = body.names.lookup(name);
    if (!value)
      return Error{"output '" + name + "' is computed by no node and is no input"};
    operands.push_back(value);
    names.push_back(builder.getStringAttr(name));
  }
  OperationState state(builder.getUnknownLoc(), onnxir::ReturnOp::getOperationName());
  state.addOperands(operands);
  if (!names.empty())
    state.addAttribute("output_names", builder.getArrayAttr(names));
  body.builder.create(state);
  if (Status status = listValueInfos(*function.mutable_value_info(), body); !status)
    return status;
  info = std::move(body.info);
  inputNames = builder.getArrayAttr(body.inputNames);
  return Done{};
}
