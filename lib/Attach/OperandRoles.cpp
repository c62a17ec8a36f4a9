// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// One row for each operator that reads parameters: ONNX's own, and those into which ONNX Runtime's optimiser fuses them
// (docs/ContribOperators.md there).
#include "lib/Attach/OperandRoles.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringSwitch.h"
#include <cctype>

using namespace mlir;
using namespace adapter;

static constexpr StringRef runtimeDomain = "com.microsoft";

int64_t adapter::integerAttr(onnxir::NodeOp node, StringRef name, int64_t otherwise) {
  auto attribute = dyn_cast_or_null<IntegerAttr>(node.getNodeAttr(name));
  return attribute ? attribute.getInt() : otherwise;
}

bool adapter::isKnownDomain(onnxir::NodeOp node) {
  return node.getDomain().empty() || node.getDomain() == runtimeDomain;
}

namespace {
enum class Family {
  None,
  MatMul,       // x, weight [in, out]
  Gemm,         // x, weight, bias; transB
  Convolution,  // x, weight [out, in, ...], bias
  Attention,    // x, weight [in, out] of q, k and v, bias
  Norm,         // x, weight, bias
  SkipNorm,     // x, skip, weight, bias
  SkipRmsNorm,  // x, skip, weight
  BiasFunction, // x, bias
  EmbedNorm     // ids, ids, three tables, weight, bias
};
} // namespace

static Family familyOf(onnxir::NodeOp node) {
  StringRef type = node.getOpType();
  if (node.getDomain() == runtimeDomain)
    return llvm::StringSwitch<Family>(type)
        .Cases({"FusedMatMul", "FusedMatMulActivation", "TransposeMatMul"}, Family::MatMul)
        .Cases({"FusedGemm", "GemmFloat8"}, Family::Gemm)
        .Case("FusedConv", Family::Convolution)
        .Case("Attention", Family::Attention)
        .Case("SkipLayerNormalization", Family::SkipNorm)
        .Case("SkipSimplifiedLayerNormalization", Family::SkipRmsNorm)
        .Cases({"SimplifiedLayerNormalization", "GroupNorm"}, Family::Norm)
        .Cases({"BiasGelu", "FastGelu"}, Family::BiasFunction)
        .Case("EmbedLayerNormalization", Family::EmbedNorm)
        .Default(Family::None);
  return llvm::StringSwitch<Family>(type)
      .Case("MatMul", Family::MatMul)
      .Case("Gemm", Family::Gemm)
      .Case("Conv", Family::Convolution)
      .Cases({"LayerNormalization", "GroupNormalization", "InstanceNormalization"}, Family::Norm)
      .Cases({"RMSNormalization", "SimplifiedLayerNormalization", "BatchNormalization"}, Family::Norm)
      .Default(Family::None);
}

bool adapter::isProduct(onnxir::NodeOp node) {
  Family family = familyOf(node);
  return family == Family::MatMul || family == Family::Gemm || family == Family::Convolution ||
         family == Family::Attention;
}

// Of a norm's operands from `first` on. They may be computed from the parameter: some models multiply by 1 + weight.
static std::optional<Role> roleOfNorm(unsigned operand, unsigned first, bool hasBias) {
  if (operand == first)
    return Role{SiteKind::Vector, "weight", false, false};
  if (operand == first + 1 && hasBias)
    return Role{SiteKind::Vector, "bias", false, false};
  return std::nullopt;
}

// Whether a Gather picks rows of a table.
static bool isFirstAxis(onnxir::NodeOp node) {
  auto type = dyn_cast<RankedTensorType>(node.getInputs().front().getType());
  int64_t axis = integerAttr(node, "axis", 0);
  return axis == 0 || (type && axis == -type.getRank());
}

std::optional<Role> adapter::roleOf(onnxir::NodeOp node, unsigned operand) {
  switch (familyOf(node)) {
  case Family::MatMul:
    return operand == 1 ? std::optional(Role{SiteKind::Linear, "weight", integerAttr(node, "transB", 0) == 0})
                        : std::nullopt;
  case Family::Attention:
    return operand == 1   ? std::optional(Role{SiteKind::Linear, "weight", true})
           : operand == 2 ? std::optional(Role{SiteKind::Vector, "bias"})
                          : std::nullopt;
  case Family::Gemm:
    return operand == 1 ? std::optional(Role{SiteKind::Linear, "weight", integerAttr(node, "transB", 0) == 0})
           : operand == 2 ? std::optional(Role{SiteKind::Vector, "bias"})
                          : std::nullopt;
  case Family::Convolution:
    return operand == 1   ? std::optional(Role{SiteKind::Convolution, "weight"})
           : operand == 2 ? std::optional(Role{SiteKind::Vector, "bias"})
                          : std::nullopt;
  case Family::Norm:
    if (node.getOpType() == "BatchNormalization" && (operand == 3 || operand == 4))
      return Role{SiteKind::Vector, operand == 3 ? "running_mean" : "running_var", false, false};
    return roleOfNorm(operand, 1, true);
  case Family::SkipNorm:
    if (operand == 4) // of the product before it
      return Role{SiteKind::Vector, "bias", false, false};
    return roleOfNorm(operand, 2, true);
  case Family::SkipRmsNorm:
    return roleOfNorm(operand, 2, false);
  case Family::BiasFunction:
    return operand == 1 ? std::optional(Role{SiteKind::Vector, "bias"}) : std::nullopt;
  case Family::EmbedNorm:
    if (operand >= 2 && operand <= 4)
      return Role{SiteKind::Embedding, "weight"};
    return roleOfNorm(operand, 5, true);
  case Family::None:
    break;
  }
  if (!node.getDomain().empty())
    return std::nullopt;
  StringRef type = node.getOpType();
  if (type == "Gather" && operand == 0 && isFirstAxis(node))
    return Role{SiteKind::Embedding, "weight"};
  if (type == "Mul")
    return Role{SiteKind::Vector, "weight", false, false};
  if (type == "Add")
    return Role{SiteKind::Vector, "bias", false, false};
  return std::nullopt;
}

TensorName adapter::splitName(StringRef key) {
  auto [path, parameter] = key.rsplit('.');
  TensorName name;
  if (parameter.empty())
    return name;
  for (StringRef operation : {".MatMulNBits", ".MatMul", ".Add", ".Gemm"})
    name.isBuilders |= path.consume_back(operation);
  name.module = path.str();
  name.parameter = parameter.str();
  return name;
}

// ONNX Runtime's ConvBnFusion_W_..., ConvMulFusion_W_..., ConvAddFusion_Add_B_..., MatMulBnFusion_GemmB_...; the
// TorchScript exporter's onnx::Conv_66, and the bias that torch's default exporter makes of a norm, conv.weight_bias.
bool adapter::isFoldedName(StringRef key) {
  if (key.starts_with("onnx::Conv_") || key.ends_with(".weight_bias"))
    return true;
  size_t at = key.find("Fusion_");
  return at != StringRef::npos && llvm::all_of(key.take_front(at), [](char c) { return std::isalnum(c); });
}
