// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What ONNX's library has to know of operators of the domain com.microsoft to infer types beyond them: the shapes of their
// results. Files that ONNX Runtime's optimiser writes have no types of the values between. Compiled with exceptions, which
// ONNX's library throws.
#include "lib/Import/ONNX/RunInference.h"
#include <onnx/defs/schema.h>
#include <onnx/defs/shape_inference.h>

using onnx::InferenceContext;
using onnx::OpSchema;
using onnx::TensorShapeProto;
using Dim = TensorShapeProto::Dimension;
using Infer = void (*)(InferenceContext &);

static constexpr const char *runtimeDomain = "com.microsoft";

static Dim dimOf(int64_t value) {
  Dim dim;
  dim.set_dim_value(value);
  return dim;
}

// One of no known size where the input is not there or has another rank.
static Dim dimAt(InferenceContext &ctx, size_t input, int rank, int at) {
  if (!hasInputShape(ctx, input))
    return {};
  const TensorShapeProto &shape = getInputShape(ctx, input);
  return shape.dim_size() == rank ? shape.dim(at) : Dim();
}

static Dim added(const Dim &x, const Dim &y) {
  return x.has_dim_value() && y.has_dim_value() ? dimOf(x.dim_value() + y.dim_value()) : Dim();
}

static Dim divided(const Dim &x, int64_t by) {
  return x.has_dim_value() && by > 0 && x.dim_value() % by == 0 ? dimOf(x.dim_value() / by) : Dim();
}

static bool has(InferenceContext &ctx, size_t input) {
  return input < ctx.getNumInputs() && ctx.getInputType(input);
}

static void setResult(InferenceContext &ctx, size_t result, std::initializer_list<Dim> dims) {
  if (result >= ctx.getNumOutputs())
    return;
  propagateElemTypeFromInputToOutput(ctx, 0, result);
  TensorShapeProto shape;
  for (const Dim &dim : dims)
    *shape.add_dim() = dim;
  updateOutputShape(ctx, result, shape);
}

static void likeInput(InferenceContext &ctx, size_t result) {
  if (result >= ctx.getNumOutputs())
    return;
  propagateElemTypeFromInputToOutput(ctx, 0, result);
  if (hasInputShape(ctx, 0))
    propagateShapeFromInputToOutput(ctx, 0, result);
}

static void inferLikeInput(InferenceContext &ctx) { likeInput(ctx, 0); }

// The sum comes last.
static void inferSkipNorm(InferenceContext &ctx) {
  likeInput(ctx, 0);
  likeInput(ctx, 3);
}

static void inferEmbedNorm(InferenceContext &ctx) {
  Dim rows = dimAt(ctx, 0, 2, 0), tokens = dimAt(ctx, 0, 2, 1), width = dimAt(ctx, 2, 2, 1);
  for (size_t result : {0, 2})
    if (result < ctx.getNumOutputs()) {
      propagateElemTypeFromInputToOutput(ctx, 2, result);
      TensorShapeProto shape;
      for (const Dim &dim : {rows, tokens, width})
        *shape.add_dim() = dim;
      updateOutputShape(ctx, result, shape);
    }
  if (ctx.getNumOutputs() > 1) {
    updateOutputElemType(ctx, 1, onnx::TensorProto::INT32);
    TensorShapeProto shape;
    *shape.add_dim() = rows;
    updateOutputShape(ctx, 1, shape);
  }
}

static TensorShapeProto transposed(InferenceContext &ctx, size_t input, const char *swaps,
                                   const char *turns) {
  TensorShapeProto shape = getInputShape(ctx, input);
  int rank = shape.dim_size();
  if (rank < 2)
    return shape;
  auto *dims = shape.mutable_dim();
  if (getAttribute(ctx, turns, 0))
    for (int i = 0; i + 2 < rank; ++i)
      dims->SwapElements(i, i + 1);
  if (getAttribute(ctx, swaps, 0))
    dims->SwapElements(rank - 2, rank - 1);
  return shape;
}

static void inferFusedMatMul(InferenceContext &ctx) {
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  if (!hasNInputShapes(ctx, 2))
    return;
  TensorShapeProto a = transposed(ctx, 0, "transA", "transBatchA"),
                   b = transposed(ctx, 1, "transB", "transBatchB");
  if (a.dim_size() < 2 || b.dim_size() < 2)
    return;
  Dim rows = a.dim(a.dim_size() - 2), columns = b.dim(b.dim_size() - 1);
  for (TensorShapeProto *each : {&a, &b}) {
    each->mutable_dim()->RemoveLast();
    each->mutable_dim()->RemoveLast();
  }
  TensorShapeProto shape;
  bidirectionalBroadcastShapeInference(a, b, shape);
  *shape.add_dim() = rows;
  *shape.add_dim() = columns;
  updateOutputShape(ctx, 0, shape);
}

static void inferFusedGemm(InferenceContext &ctx) {
  setResult(ctx, 0,
            {dimAt(ctx, 0, 2, getAttribute(ctx, "transA", 0) ? 1 : 0),
             dimAt(ctx, 1, 2, getAttribute(ctx, "transB", 0) ? 0 : 1)});
}

// Sizes of images, which padding and steps change, are what lowering works out.
static void inferFusedConv(InferenceContext &ctx) {
  if (!hasInputShape(ctx, 0))
    return;
  int rank = getInputShape(ctx, 0).dim_size();
  TensorShapeProto shape;
  *shape.add_dim() = dimAt(ctx, 0, rank, 0);
  *shape.add_dim() = dimAt(ctx, 1, rank, 0);
  for (int i = 2; i < rank; ++i)
    shape.add_dim();
  propagateElemTypeFromInputToOutput(ctx, 0, 0);
  updateOutputShape(ctx, 0, shape);
}

// query, key, value, bias, mask, bias, past key, past value.
static void inferMultiHead(InferenceContext &ctx) {
  int64_t heads = getAttribute(ctx, "num_heads", 0);
  if (!has(ctx, 1) || !has(ctx, 2) || !hasInputShape(ctx, 2))
    return;
  bool isFlat = getInputShape(ctx, 2).dim_size() == 3;
  Dim rows = dimAt(ctx, 0, 3, 0), length = isFlat ? dimAt(ctx, 1, 3, 1) : dimAt(ctx, 1, 4, 2), width;
  if (isFlat)
    width = dimAt(ctx, 2, 3, 2);
  else if (Dim size = dimAt(ctx, 2, 4, 3); size.has_dim_value())
    width = dimOf(size.dim_value() * heads);
  setResult(ctx, 0, {rows, dimAt(ctx, 0, 3, 1), width});
  Dim total = has(ctx, 6) ? added(length, dimAt(ctx, 6, 4, 2)) : length;
  setResult(ctx, 1, {rows, dimOf(heads), total, divided(dimAt(ctx, 0, 3, 2), heads)});
  setResult(ctx, 2, {rows, dimOf(heads), total, divided(width, heads)});
}

// input, weight, bias, mask, past.
static void inferAttention(InferenceContext &ctx) {
  int64_t heads = getAttribute(ctx, "num_heads", 0);
  std::vector<int64_t> widths;
  Dim width = divided(dimAt(ctx, 1, 2, 1), 3);
  if (getRepeatedAttribute(ctx, "qkv_hidden_sizes", widths) && widths.size() == 3)
    width = dimOf(widths[2]);
  Dim rows = dimAt(ctx, 0, 3, 0), tokens = dimAt(ctx, 0, 3, 1);
  setResult(ctx, 0, {rows, tokens, width});
  Dim total = has(ctx, 4) ? added(tokens, dimAt(ctx, 4, 5, 3)) : tokens;
  setResult(ctx, 1, {dimOf(2), rows, dimOf(heads), total, divided(width, heads)});
}

// query, key, value, past key, past value. How long the cache is the lengths of the call say.
static void inferGroupQuery(InferenceContext &ctx) {
  int64_t heads = getAttribute(ctx, "num_heads", 0), shared = getAttribute(ctx, "kv_num_heads", 0);
  Dim rows = dimAt(ctx, 0, 3, 0), tokens = dimAt(ctx, 0, 3, 1);
  Dim size = divided(dimAt(ctx, 0, 3, 2), has(ctx, 1) ? heads : heads + 2 * shared);
  setResult(ctx, 0, {rows, tokens, size.has_dim_value() ? dimOf(size.dim_value() * heads) : Dim()});
  Dim length = getAttribute(ctx, "sliding_window_cache", 0) ? dimAt(ctx, 3, 4, 2) : Dim();
  setResult(ctx, 1, {rows, dimOf(shared), length, size});
  setResult(ctx, 2, {rows, dimOf(shared), length, size});
}

static void add(const char *domain, const char *name, Infer infer) {
  OpSchema schema(name, __FILE__, __LINE__);
  schema.SetDomain(domain)
      .SinceVersion(1)
      .Input(0, "inputs", "", "T", OpSchema::Variadic, /*is_homogeneous=*/false, /*min_arity=*/0)
      .Output(0, "results", "", "T", OpSchema::Variadic, /*is_homogeneous=*/false, /*min_arity=*/0)
      .TypeConstraint("T", OpSchema::all_tensor_types(), "")
      .AllowUncheckedAttributes()
      .TypeAndShapeInferenceFunction(infer);
  onnx::RegisterSchema(std::move(schema));
}

void adapter::onnxproto::addRuntimeSchemas() {
  static const bool isDone = [] {
    auto &domains = onnx::OpSchemaRegistry::DomainToVersionRange::Instance();
    if (!domains.Map().count(runtimeDomain))
      domains.AddDomainToVersion(runtimeDomain, 1, 1);
    for (const char *name : {"Gelu", "BiasGelu", "FastGelu", "QuickGelu", "RotaryEmbedding"})
      add(runtimeDomain, name, inferLikeInput);
    for (const char *domain : {runtimeDomain, onnx::ONNX_DOMAIN})
      add(domain, "SimplifiedLayerNormalization", inferLikeInput);
    add(runtimeDomain, "SkipLayerNormalization", inferSkipNorm);
    add(runtimeDomain, "SkipSimplifiedLayerNormalization", inferSkipNorm);
    add(runtimeDomain, "EmbedLayerNormalization", inferEmbedNorm);
    add(runtimeDomain, "FusedMatMul", inferFusedMatMul);
    add(runtimeDomain, "FusedGemm", inferFusedGemm);
    add(runtimeDomain, "FusedConv", inferFusedConv);
    add(runtimeDomain, "MultiHeadAttention", inferMultiHead);
    add(runtimeDomain, "Attention", inferAttention);
    add(runtimeDomain, "GroupQueryAttention", inferGroupQuery);
    return true;
  }();
  (void)isDone;
}
