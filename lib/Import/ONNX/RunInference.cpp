// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiled with exceptions, which ONNX's library throws.
#include "lib/Import/ONNX/RunInference.h"
#include <algorithm>
#include <exception>
#include <onnx/defs/schema.h>
#include <onnx/onnx_pb.h>
#include <onnx/shape_inference/implementation.h>

std::string adapter::onnxproto::runShapeInference(::onnx::ModelProto &model) {
  try {
    addRuntimeSchemas();
    ::onnx::ShapeInferenceOptions options(/*check_type_val=*/false, /*strict_mode_val=*/0,
                                          /*data_prop_val=*/true);
    ::onnx::shape_inference::InferShapes(model, ::onnx::OpSchemaRegistry::Instance(), options);
    return {};
  } catch (const std::exception &error) {
    return error.what();
  } catch (...) {
    return "an exception of unknown kind";
  }
}

static std::string findMissingInput(const ::onnx::ModelProto &model, const ::onnx::NodeProto &node) {
  std::string domain = node.domain() == "ai.onnx" ? "" : node.domain();
  int version = 0;
  for (const auto &imported : model.opset_import())
    if ((imported.domain() == "ai.onnx" ? "" : imported.domain()) == domain)
      version = static_cast<int>(imported.version());
  const ::onnx::OpSchema *schema = ::onnx::OpSchemaRegistry::Schema(node.op_type(), version, domain);
  if (!schema)
    return {};
  for (size_t i = 0; i < schema->inputs().size(); ++i) {
    const auto &input = schema->inputs()[i];
    bool isVariadic = input.GetOption() == ::onnx::OpSchema::Variadic;
    if (input.GetOption() == ::onnx::OpSchema::Optional)
      continue;
    // What may be any number of inputs is the last of the operator's.
    int needed = isVariadic ? input.GetMinArity() : 1, first = static_cast<int>(i);
    int end = isVariadic ? std::max(node.input_size(), first + needed) : first + 1;
    for (int at = first; at < end; ++at)
      if (at >= node.input_size() || node.input(at).empty())
        return node.op_type() + " node '" + node.name() + "': input " + std::to_string(at) + " ('" +
               input.GetName() + "') is left out, and the operator needs it";
  }
  return {};
}

static std::string findMissingInput(const ::onnx::ModelProto &model, const ::onnx::GraphProto &graph) {
  for (const auto &node : graph.node()) {
    if (std::string message = findMissingInput(model, node); !message.empty())
      return message;
    for (const auto &attribute : node.attribute()) {
      std::string message = attribute.has_g() ? findMissingInput(model, attribute.g()) : "";
      for (const auto &each : attribute.graphs())
        if (message.empty())
          message = findMissingInput(model, each);
      if (!message.empty())
        return message;
    }
  }
  return {};
}

std::string adapter::onnxproto::findMissingInput(const ::onnx::ModelProto &model) {
  try {
    return ::findMissingInput(model, model.graph());
  } catch (const std::exception &error) {
    return error.what();
  }
}

int64_t adapter::onnxproto::newestOpset() {
  try {
    return ::onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at(::onnx::ONNX_DOMAIN).second;
  } catch (...) {
    return 0;
  }
}
