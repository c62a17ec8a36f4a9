// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Nodes, their attributes and subgraphs.
#include "lib/Checkpoint/Work.h"
#include "lib/Import/ONNX/GraphBody.h"
#include "lib/Import/ONNX/GraphImporter.h"
#include "lib/Support/ONNX/Attributes.h"
#include "lib/Support/ONNX/Residue.h"
#include "lib/Support/ONNX/Types.h"

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

static std::string describe(const ::onnx::NodeProto &node) {
  std::string name = !node.name().empty() ? node.name() : node.output_size() ? node.output(0) : "";
  return "node '" + name + "' (" + node.op_type() + ")";
}

Status GraphImporter::importNodes(Nodes &nodes, Body &body) {
  for (::onnx::NodeProto &node : nodes) {
    if (checkpoint::isCancelled())
      return checkpoint::cancelledError();
    if (Status status = importNode(node, nodes, body); !status)
      return within(describe(node), status.error());
  }
  return Done{};
}

Status GraphImporter::importSubgraph(::onnx::GraphProto &graph, StringRef name, Body &body,
                                     OperationState &state) {
  NamedAttrList info;
  ArrayAttr inputNames;
  if (Status status = importGraph(graph, *state.addRegion(), &body.names, info, inputNames); !status)
    return within("subgraph '" + name.str() + "'", status.error());
  if (!inputNames.empty())
    info.set("input_names", inputNames);
  if (!info.empty())
    regionInfo.set(name, info.getDictionary(builder.getContext()));
  regionNames.push_back(builder.getStringAttr(name));
  return Done{};
}

// Sets node_attributes, regions and the order; attributes without a form in the IR go to `node`.
Status GraphImporter::importAttributes(Attributes &all, ::onnx::NodeProto &node, Body &body,
                                       OperationState &state) {
  llvm::StringSet<> names;
  bool unique = true;
  for (const auto &attribute : all)
    unique &= !attribute.name().empty() && names.insert(attribute.name()).second;
  NamedAttrList attributes;
  SmallVector<Attribute> order;
  std::string base = !node.name().empty() ? node.name()
                     : node.output_size() ? node.output(0)
                                          : node.op_type();
  for (::onnx::AttributeProto &attribute : all) {
    StringRef name = attribute.name();
    order.push_back(builder.getStringAttr(name));
    if (unique && attribute.type() == ::onnx::AttributeProto::GRAPH && attribute.has_g()) {
      // The bare message around the graph must be all there is.
      ::onnx::AttributeProto plain;
      plain.set_name(attribute.name());
      plain.set_type(attribute.type());
      ::onnx::GraphProto aside;
      aside.Swap(attribute.mutable_g());
      attribute.clear_g();
      bool bare = plain.SerializeAsString() == attribute.SerializeAsString();
      attribute.mutable_g()->Swap(&aside);
      if (bare) {
        if (Status status = importSubgraph(*attribute.mutable_g(), name, body, state); !status)
          return status;
        continue;
      }
    }
    if (unique && attribute.type() == ::onnx::AttributeProto::GRAPHS && attribute.graphs_size()) {
      for (int i = 0; i < attribute.graphs_size(); ++i) {
        std::string each = name.str() + "[" + std::to_string(i) + "]";
        if (Status status = importSubgraph(*attribute.mutable_graphs(i), each, body, state); !status)
          return status;
      }
      continue;
    }
    Attribute imported;
    if (unique) {
      Result<Attribute> result =
          importAttribute(attribute, base + "." + name.str(), tensors, builder.getContext());
      if (!result)
        return within("attribute '" + name.str() + "'", result.error());
      imported = *result;
    }
    if (imported)
      attributes.set(name, imported);
    else
      *node.add_attribute() = attribute;
  }
  if (!attributes.empty())
    state.addAttribute("node_attributes", attributes.getDictionary(builder.getContext()));
  bool sorted = llvm::is_sorted(order, [](Attribute a, Attribute b) {
    return cast<StringAttr>(a).getValue() < cast<StringAttr>(b).getValue();
  });
  if (!sorted)
    state.addAttribute("attribute_order", builder.getArrayAttr(order));
  return Done{};
}

Status GraphImporter::importNode(::onnx::NodeProto &node, const Nodes &all, Body &body) {
  if (node.op_type().empty())
    return Error{"it names no operator"};
  std::string name = !node.name().empty() ? node.name()
                     : node.output_size() ? node.output(0)
                                          : node.op_type();
  OperationState state(NameLoc::get(builder.getStringAttr(name)), onnxir::NodeOp::getOperationName());
  state.addAttribute("op_type", builder.getStringAttr(node.op_type()));
  for (const std::string &input : node.input()) {
    Value value = input.empty() ? absent(body) : body.names.lookup(input);
    if (value) {
      state.addOperands(value);
      continue;
    }
    for (const auto &other : all)
      if (llvm::is_contained(other.output(), input))
        return Error{"it reads '" + input +
                     "' before that is computed: the graph has a cycle or is not in topological order; sort "
                     "its nodes"};
    return Error{"it reads '" + input + "', which no node computes and no input or initialiser names"};
  }
  auto outerNames = std::move(regionNames);
  auto outerInfo = std::move(regionInfo);
  regionNames.clear();
  regionInfo = NamedAttrList();
  // The store points into tensors of the attributes: they come back once the rest is kept as text.
  Attributes attributes;
  attributes.Swap(node.mutable_attribute());
  if (Status status = importAttributes(attributes, node, body, state); !status)
    return status;
  if (!regionNames.empty())
    state.addAttribute("region_names", builder.getArrayAttr(regionNames));
  if (!regionInfo.empty())
    state.addAttribute("info", regionInfo.getDictionary(builder.getContext()));
  regionNames = std::move(outerNames);
  regionInfo = std::move(outerInfo);

  SmallVector<Attribute> resultNames;
  for (const std::string &output : node.output()) {
    resultNames.push_back(builder.getStringAttr(output));
    Type type = output.empty() ? Type(builder.getNoneType()) : body.types.lookup(output);
    state.addTypes(type ? type : onnxir::UnknownType::get(builder.getContext()));
  }
  state.addAttribute("result_names", builder.getArrayAttr(resultNames));

  using N = ::onnx::NodeProto;
  std::vector<int> covered = {N::kInputFieldNumber, N::kOutputFieldNumber, N::kOpTypeFieldNumber};
  if (node.has_name()) {
    state.addAttribute("node_name", builder.getStringAttr(node.name()));
    covered.push_back(N::kNameFieldNumber);
  }
  // The default domain's other name stays with what only export has to know.
  bool isSpelledOut = node.domain() == "ai.onnx";
  if (!node.domain().empty() && !isSpelledOut)
    state.addAttribute("domain", builder.getStringAttr(node.domain()));
  if (!isSpelledOut && (!node.domain().empty() || explicitDomains))
    covered.push_back(N::kDomainFieldNumber);
  if (llvm::all_of(node.metadata_props(), [](const auto &entry) {
        return entry.has_key() && entry.has_value() && entry.unknown_fields().empty();
      })) {
    SmallVector<Attribute> metadata;
    for (const auto &entry : node.metadata_props()) {
      metadata.push_back(builder.getStringAttr(entry.key()));
      metadata.push_back(builder.getStringAttr(entry.value()));
    }
    if (!metadata.empty())
      state.addAttribute("metadata", builder.getArrayAttr(metadata));
    covered.push_back(N::kMetadataPropsFieldNumber);
  }
  Result<std::string> extra = residueOf(node, covered, tensors);
  node.mutable_attribute()->Swap(&attributes);
  if (!extra)
    return extra.error();
  if (!extra->empty())
    state.addAttribute("extra", builder.getStringAttr(*extra));
  Operation *op = body.builder.create(state);
  for (auto [output, result] : llvm::zip(node.output(), op->getResults()))
    if (!output.empty())
      if (Status status = define(output, result, body); !status)
        return status;
  return Done{};
}
