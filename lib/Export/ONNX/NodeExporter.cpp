// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Nodes, their attributes, and initialisers.
#include "dialects/ONNX/IR/NodeVersion.h"
#include "lib/Export/ONNX/GraphExporter.h"
#include "lib/Support/ONNX/Attributes.h"
#include "lib/Support/ONNX/Residue.h"
#include "lib/Support/ONNX/Types.h"
#include "lib/Support/ParameterStore.h"
#include "lib/Support/Quantised.h"
#include <numeric>
#include <tuple>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

Status GraphExporter::exportParameter(ParameterOp op, ::onnx::GraphProto &graph) {
  std::string place = "parameter \"" + op.getScope().str() + "\"::\"" + op.getKey().str() + "\"";
  const std::string &name = names[op.getResult()];
  if (isa<onnxir::SparseTensorType>(op.getType())) {
    ::onnx::SparseTensorProto &sparse = *graph.add_sparse_initializer();
    if (op.getExtra() && !fromText(*op.getExtra(), sparse, store))
      return Error{place + ": its 'extra' is no SparseTensorProto, or refers to a tensor that is not there"};
    sparse.mutable_values()->set_name(name);
    return Done{};
  }
  ::onnx::TensorProto &proto = *graph.add_initializer();
  if (op.getExtra() && !fromText(*op.getExtra(), proto, store))
    return Error{place + ": its 'extra' is no TensorProto"};
  proto.set_name(name);
  Tensor tensor;
  auto type = dyn_cast<RankedTensorType>(op.getType());
  if (const Tensor *found = store.lookup(op.getScope(), op.getKey())) {
    tensor = *found;
  } else if (op.getValue()) {
    std::optional<Tensor> inlined = tensorOf(*op.getValue());
    if (!inlined)
      return Error{place + ": its value cannot be written"};
    tensor = *inlined;
  } else if (type && isa<onnxir::StringType>(type.getElementType())) {
    tensor.dtype = DType::String;
    tensor.shape.assign(type.getShape().begin(), type.getShape().end());
  } else if (type && op->hasAttr(quantisedAttribute) && maxContents >= 0) {
    // Stands for integers, and its type is all that shape inference sees.
    tensor.dtype = dtypeOf(type.getElementType());
    tensor.shape.assign(type.getShape().begin(), type.getShape().end());
    tensor.bytes = static_cast<size_t>(maxContents) + 1;
  } else {
    return Error{place + ": no archive holds it"};
  }
  initializers.push_back({&proto, tensor});
  if (maxContents >= 0 && static_cast<int64_t>(tensor.bytes) > maxContents) {
    // For shape inference: it knows not to look.
    tensor.bytes = 0;
    writeTensor(tensor, proto);
    proto.clear_raw_data();
    proto.set_data_location(::onnx::TensorProto::EXTERNAL);
  } else if (maxContents >= 0 || tensor.dtype == DType::String) {
    writeTensor(tensor, proto);
  } else {
    // The writer decides where contents go.
    Tensor empty = tensor;
    empty.bytes = 0;
    writeTensor(empty, proto);
  }
  return Done{};
}

// Sorts by name, or by `order`, which lists names in the order that the file had; others come last.
static void sortAttributes(std::vector<::onnx::AttributeProto> &attributes, ArrayAttr order) {
  std::vector<size_t> byName(attributes.size());
  std::iota(byName.begin(), byName.end(), 0);
  llvm::sort(byName, [&](size_t a, size_t b) {
    return std::tie(attributes[a].name(), a) < std::tie(attributes[b].name(), b);
  });
  std::vector<::onnx::AttributeProto> sorted;
  std::vector<bool> used(attributes.size());
  for (Attribute each : order ? order.getValue() : ArrayRef<Attribute>())
    for (size_t i = 0; i < attributes.size(); ++i)
      if (!used[i] && isa<StringAttr>(each) && attributes[i].name() == cast<StringAttr>(each).getValue()) {
        used[i] = true;
        sorted.push_back(std::move(attributes[i]));
        break;
      }
  for (size_t i : byName)
    if (!used[i])
      sorted.push_back(std::move(attributes[i]));
  attributes = std::move(sorted);
}

Status GraphExporter::exportAttributes(onnxir::NodeOp op, ::onnx::NodeProto &proto) {
  std::vector<::onnx::AttributeProto> attributes(proto.attribute().begin(), proto.attribute().end());
  proto.clear_attribute();
  for (NamedAttribute each : op.getNodeAttributes()) {
    ::onnx::AttributeProto &attribute = attributes.emplace_back();
    attribute.set_name(each.getName().str());
    if (!exportAttribute(each.getValue(), store, attribute))
      return Error{"attribute '" + each.getName().str() +
                   "' has no form in ONNX, or its tensor is not there"};
  }
  // Regions whose names differ only in their index belong to one attribute.
  std::vector<std::pair<std::string, SmallVector<Region *>>> graphs;
  for (auto [i, region] : llvm::enumerate(op.getGraphs())) {
    StringRef full = cast<StringAttr>((*op.getRegionNames())[i]).getValue();
    StringRef name = full.split('[').first;
    if (graphs.empty() || graphs.back().first != name || !full.contains('['))
      graphs.push_back({name.str(), {}});
    graphs.back().second.push_back(&region);
  }
  unsigned index = 0;
  for (auto &[name, regions] : graphs) {
    ::onnx::AttributeProto &attribute = attributes.emplace_back();
    attribute.set_name(name);
    bool list = cast<StringAttr>((*op.getRegionNames())[index]).getValue().contains('[');
    attribute.set_type(list ? ::onnx::AttributeProto::GRAPHS : ::onnx::AttributeProto::GRAPH);
    index += regions.size();
    for (size_t i = 0; i < regions.size(); ++i)
      list ? attribute.add_graphs() : attribute.mutable_g();
  }
  sortAttributes(attributes, op.getAttributeOrderAttr());
  proto.mutable_attribute()->Reserve(static_cast<int>(attributes.size()));
  for (::onnx::AttributeProto &each : attributes)
    proto.add_attribute()->Swap(&each);

  // Filled in place, since pointers to the messages of inner nodes are kept.
  for (auto [i, region] : llvm::enumerate(op.getGraphs())) {
    StringRef full = cast<StringAttr>((*op.getRegionNames())[i]).getValue();
    auto [name, rest] = full.split('[');
    unsigned at = 0;
    if (!rest.empty() && rest.drop_back().getAsInteger(10, at))
      return Error{"region name '" + full.str() + "' is none"};
    ::onnx::GraphProto *graph = nullptr;
    for (auto &attribute : *proto.mutable_attribute()) {
      if (attribute.name() != name)
        continue;
      if (attribute.type() == ::onnx::AttributeProto::GRAPH)
        graph = attribute.mutable_g();
      else if (static_cast<int>(at) < attribute.graphs_size())
        graph = attribute.mutable_graphs(static_cast<int>(at));
    }
    if (!graph)
      return Error{"region name '" + full.str() + "' is none"};
    auto info = op.getInfo() ? op.getInfo()->getAs<DictionaryAttr>(full) : DictionaryAttr();
    auto inputNames = info ? info.getAs<ArrayAttr>("input_names") : ArrayAttr();
    if (Status status = exportGraph(region, inputNames, info, *graph); !status)
      return Error{"subgraph '" + full.str() + "': " + status.error().message};
  }
  return Done{};
}

Status GraphExporter::exportNode(onnxir::NodeOp op, ::onnx::NodeProto &proto) {
  if (op.getExtra())
    if (!fromText(*op.getExtra(), proto, store))
      return Error{"its 'extra' is no NodeProto, or refers to a tensor that is not there"};
  proto.set_op_type(op.getOpType().str());
  if (op.getNodeName())
    proto.set_name(op.getNodeName()->str());
  if (!op.getDomain().empty())
    proto.set_domain(op.getDomain().str());
  else if (model.getExplicitDomains() && proto.domain().empty())
    proto.set_domain("");
  if (op->hasAttr(onnxir::versionAttribute) &&
      op.getOpsetVersion() != model.getOpsetVersion(op.getDomain())) {
    if (!shapesOnly())
      return Error{
          "it is of operator set " + std::to_string(op.getOpsetVersion()) +
          ", the model of another, and a file has but one; passes on the way to compiled code made it"};
    // Inference would take it for another version's operator.
    proto.set_domain(unknownDomain);
  }
  for (Value input : op.getInputs())
    proto.add_input(isa<NoneType>(input.getType()) ? "" : names[input]);
  for (Value result : op.getResults())
    proto.add_output(isa<NoneType>(result.getType()) ? "" : names[result]);
  if (auto metadata = op.getMetadata())
    for (size_t i = 0; i + 1 < metadata->size(); i += 2) {
      auto *entry = proto.add_metadata_props();
      entry->set_key(cast<StringAttr>((*metadata)[i]).str());
      entry->set_value(cast<StringAttr>((*metadata)[i + 1]).str());
    }
  return exportAttributes(op, proto);
}
