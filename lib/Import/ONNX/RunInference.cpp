// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Compiled with exceptions, which ONNX's library throws.
#include "lib/Import/ONNX/RunInference.h"
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

int64_t adapter::onnxproto::newestOpset() {
  try {
    return ::onnx::OpSchemaRegistry::DomainToVersionRange::Instance().Map().at(::onnx::ONNX_DOMAIN).second;
  } catch (...) {
    return 0;
  }
}
