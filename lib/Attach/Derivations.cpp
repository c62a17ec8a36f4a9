// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Recognising derivations. Equal means equal to the bit once the base's numbers are rounded as the graph's were;
// computed numbers may differ by the rounding of one operation.
#include "lib/Attach/Derivations.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include <cmath>
#include <cstring>
#include <functional>

using namespace mlir;
using namespace adapter;
using checkpoint::DType;
using checkpoint::Result;
using checkpoint::Tensor;

std::string Derivation::text(const std::string &name) const {
  auto number = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return std::string(text);
  };
  switch (kind) {
  case Itself:
    return "";
  case OnePlus:
    return "1 + " + name;
  case Scaled:
    return number(factor) + " * " + name;
  case RowsScaled:
    return name + " with each row scaled";
  case ColumnsScaled:
    return name + " with each column scaled";
  case Affine:
    return name + " scaled and moved";
  }
  return "";
}

std::optional<Tensor> adapter::floatContents(const ModuleParameter &parameter) {
  ParameterOp value = parameter.value;
  const Tensor *tensor =
      value ? ParameterStore::get(value.getContext()).lookup(value.getScope(), value.getKey()) : nullptr;
  if (!tensor || !checkpoint::isFloat(tensor->dtype))
    return std::nullopt;
  Result<Tensor> wide = checkpoint::toF32(*tensor);
  return wide ? std::optional<Tensor>(std::move(*wide)) : std::nullopt;
}

namespace {
// A matrix [rows, columns] somewhere in memory.
struct View {
  const float *data;
  int64_t rows, columns, rowStride, columnStride;

  float at(int64_t row, int64_t column) const { return data[row * rowStride + column * columnStride]; }
};

using Round = float (*)(float);
} // namespace

static float keep(float value) { return value; }
static float toF16AndBack(float value) { return static_cast<float>(static_cast<_Float16>(value)); }
static float toBF16AndBack(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  bits += 0x7fff + (bits >> 16 & 1);
  bits &= 0xffff0000;
  std::memcpy(&value, &bits, sizeof bits);
  return value;
}

// Calls `visit` with pairs of elements until it says no, row after row or column after column as the graph's lie.
static bool allPairs(const View &graph, const View &base,
                     llvm::function_ref<bool(int64_t, int64_t, float, float)> visit) {
  bool byRow = graph.columnStride == 1;
  int64_t outer = byRow ? graph.rows : graph.columns, inner = byRow ? graph.columns : graph.rows;
  for (int64_t i = 0; i < outer; ++i)
    for (int64_t j = 0; j < inner; ++j) {
      int64_t row = byRow ? i : j, column = byRow ? j : i;
      if (!visit(row, column, graph.at(row, column), base.at(row, column)))
        return false;
    }
  return true;
}

static bool isItself(const View &graph, const View &base, Round round) {
  return allPairs(graph, base, [&](int64_t, int64_t, float g, float w) { return g == round(w); });
}

// Whether `g` is `computed` but for the rounding of the graph's type, and of computing it in f32.
static bool isNear(double g, double computed, double precision) {
  return std::fabs(g - computed) <= precision * std::max(std::fabs(g), std::fabs(computed)) + 1e-30;
}

static double precisionOf(DType dtype) {
  return dtype == DType::BF16 ? 0x1p-7 : dtype == DType::F16 ? 0x1p-9 : 0x1p-21;
}

static bool isOnePlus(const View &graph, const View &base, double precision) {
  return allPairs(graph, base, [&](int64_t, int64_t, float g, float w) {
    return std::fabs(g - (1.0 + w)) <= precision * (1.0 + std::fabs(w));
  });
}

// Scales by row or by column (by one number: where `slice` is always 0), each from the pair whose base is largest.
// Nothing where the numbers are not the base's times such scales, or where a scale rests on one pair alone.
static std::optional<std::vector<double>> scalesOf(const View &graph, const View &base, int64_t count,
                                                   double precision,
                                                   llvm::function_ref<int64_t(int64_t, int64_t)> slice) {
  std::vector<double> scales(count, 1.0), largest(count, 0.0);
  std::vector<int64_t> support(count, 0);
  allPairs(graph, base, [&](int64_t row, int64_t column, float g, float w) {
    int64_t at = slice(row, column);
    support[at] += w != 0;
    if (std::fabs(w) > largest[at]) {
      largest[at] = std::fabs(w);
      scales[at] = static_cast<double>(g) / w;
    }
    return true;
  });
  for (int64_t i = 0; i < count; ++i)
    if (support[i] < 2 || !std::isfinite(scales[i]) || scales[i] == 0)
      return std::nullopt;
  bool holds = allPairs(graph, base, [&](int64_t row, int64_t column, float g, float w) {
    return isNear(g, scales[slice(row, column)] * w, precision);
  });
  return holds ? std::optional(std::move(scales)) : std::nullopt;
}

// A matrix of zeros fits any scales, so a fit with it proves nothing.
static bool hasNumbers(const View &base) {
  return !allPairs(base, base, [](int64_t, int64_t, float w, float) { return w == 0; });
}

static std::optional<Derivation> recognise(const View &graph, const View &base, DType dtype, bool isVector) {
  Derivation result;
  for (Round round : {keep, toF16AndBack, toBF16AndBack})
    if (isItself(graph, base, round))
      return result;
  double precision = precisionOf(dtype);
  bool isRaised = isVector && isOnePlus(graph, base, precision);
  if (isRaised)
    result.kind = Derivation::OnePlus;
  if (!hasNumbers(base))
    return isRaised ? std::optional(result) : std::nullopt;
  if (auto one = scalesOf(graph, base, 1, precision, [](int64_t, int64_t) { return 0; })) {
    // A vector of one number can be both: 2 is 1 + 1 and 2 * 1.
    if (isRaised)
      return std::nullopt;
    result.kind = Derivation::Scaled;
    result.factor = one->front();
    return result;
  }
  if (isVector)
    return isRaised ? std::optional(result) : std::nullopt;
  if (auto rows = scalesOf(graph, base, graph.rows, precision, [](int64_t row, int64_t) { return row; })) {
    result.kind = Derivation::RowsScaled;
    result.scales = std::move(*rows);
    return result;
  }
  if (auto columns =
          scalesOf(graph, base, graph.columns, precision, [](int64_t, int64_t column) { return column; })) {
    result.kind = Derivation::ColumnsScaled;
    result.scales = std::move(*columns);
    return result;
  }
  return std::nullopt;
}

static double differenceOf(const View &graph, const View &base) {
  double largest = 0, difference = 0;
  allPairs(graph, base, [&](int64_t, int64_t, float g, float w) {
    largest = std::max(largest, std::fabs(static_cast<double>(w)));
    difference = std::max(difference, std::fabs(static_cast<double>(g) - w));
    return true;
  });
  return largest > 0 ? difference / largest : difference;
}

// The part of a parameter as a matrix [outputs, the rest].
static View viewOf(const FusedPart &part, const Tensor &contents) {
  const ModuleParameter &parameter = *part.parameter;
  int64_t outputs = parameter.shape[0], rest = 1;
  for (int64_t size : ArrayRef(parameter.shape).drop_front())
    rest *= size;
  const float *data = reinterpret_cast<const float *>(contents.data);
  if (parameter.transposed)
    return {data + part.offset, part.size, rest, 1, outputs};
  return {data + part.offset * rest, part.size, rest, rest, 1};
}

Comparison adapter::compareWithBase(const FusedPart &part, const Tensor &base) {
  Comparison result;
  const ModuleParameter &parameter = *part.parameter;
  std::optional<Tensor> contents = floatContents(parameter);
  Result<Tensor> wide =
      checkpoint::isFloat(base.dtype) ? checkpoint::toF32(base) : checkpoint::Error{"is no tensor of floats"};
  if (!contents || !wide) {
    result.problem = !contents ? "the graph's tensor has no floats that could be compared"
                               : "'" + base.key + "' of the base cannot be compared: it is " +
                                     checkpoint::dtypeName(base.dtype);
    return result;
  }
  ParameterOp value = parameter.value;
  DType dtype = dtypeOf(cast<RankedTensorType>(value.getType()).getElementType());
  View graph = viewOf(part, *contents);
  const float *data = reinterpret_cast<const float *>(wide->data);
  bool isVector = parameter.kind == SiteKind::Vector;
  bool isMatrix = wide->shape.size() == 2 && !isVector;
  bool fits = wide->elements() == graph.rows * graph.columns;
  bool asIs = fits && (!isMatrix || wide->shape[0] == graph.rows);
  // A convolution of one tap may stand for a linear; only of a product's weight the transpose is meant.
  bool turned = fits && isMatrix && parameter.kind == SiteKind::Linear && wide->shape[1] == graph.rows;
  for (bool transposed : {false, true}) {
    if (transposed ? !turned : !asIs)
      continue;
    View view{data, graph.rows, graph.columns, transposed ? 1 : graph.columns, transposed ? graph.rows : 1};
    result.derivation = recognise(graph, view, dtype, isVector);
    result.storedTransposed = transposed;
    if (result.derivation)
      return result;
    double difference = differenceOf(graph, view);
    result.difference = result.difference > 0 ? std::min(result.difference, difference) : difference;
  }
  result.isOtherShape = !asIs && !turned;
  if (result.isOtherShape)
    result.problem = "'" + base.key + "' of the base has shape " + checkpoint::shapeText(base.shape);
  return result;
}

Derivation adapter::affineOf(const FusedPart &bias, const Tensor &base, const Derivation &weight) {
  Derivation result;
  result.kind = Derivation::Affine;
  result.scales = weight.scales;
  std::optional<Tensor> contents = floatContents(*bias.parameter);
  Result<Tensor> wide = checkpoint::toF32(base);
  for (int64_t i = 0; contents && wide && i < bias.size; ++i)
    result.offsets.push_back(reinterpret_cast<const float *>(contents->data)[bias.offset + i] -
                             weight.scales[i] * reinterpret_cast<const float *>(wide->data)[i]);
  return result;
}

bool adapter::holdEqualNumbers(const ModuleParameter &x, const ModuleParameter &y) {
  if (x.shape != y.shape)
    return false;
  std::optional<Tensor> a = floatContents(x), b = floatContents(y);
  if (!a || !b)
    return true; // nothing to compare
  auto dtypeIn = [](ParameterOp value) {
    return dtypeOf(cast<RankedTensorType>(value.getType()).getElementType());
  };
  FusedPart first{const_cast<ModuleParameter *>(&x), 0, x.shape[0]},
      second{const_cast<ModuleParameter *>(&y), 0, y.shape[0]};
  View p = viewOf(first, *a), q = viewOf(second, *b);
  if (dtypeIn(x.value) == dtypeIn(y.value))
    return isItself(p, q, keep);
  // One of them was rounded to a narrow type.
  return isItself(p, q, toF16AndBack) || isItself(q, p, toF16AndBack) || isItself(p, q, toBF16AndBack) ||
         isItself(q, p, toBF16AndBack);
}
