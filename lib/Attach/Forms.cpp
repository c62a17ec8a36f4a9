// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// An update as ops, and updates that change nothing.
#include "lib/Attach/Forms.h"
#include "lib/Attach/FormUse.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Tensor;
using checkpoint::Update;

//===----------------------------------------------------------------------===//
// Contents
//===----------------------------------------------------------------------===//

// Compares a with b, or with b's transpose.
static bool sameContents(const Tensor &a, const Tensor &b, bool transposed) {
  if (a.dtype != b.dtype || a.bytes != b.bytes)
    return false;
  if (!transposed)
    return std::memcmp(a.data, b.data, a.bytes) == 0;
  if (a.shape.size() != 2 || b.shape.size() != 2 || a.shape[0] != b.shape[1] || a.shape[1] != b.shape[0])
    return false;
  size_t rows = a.shape[0], columns = a.shape[1], size = a.bytes / (rows * columns);
  for (size_t i = 0; i < rows; ++i)
    for (size_t j = 0; j < columns; ++j)
      if (std::memcmp(a.data + (i * columns + j) * size, b.data + (j * rows + i) * size, size))
        return false;
  return true;
}

static const Tensor *contentsOf(ModuleParameter parameter) {
  if (!parameter.value)
    return nullptr;
  ParameterStore &store = ParameterStore::get(parameter.value.getContext());
  return store.lookup(parameter.value.getScope(), parameter.value.getKey());
}

bool adapter::changesNothing(const Update &update, const ModuleParameter &parameter) {
  const Tensor *contents = contentsOf(parameter);
  FormTraits traits = traitsOf(update, parameter);
  if (!traits.replaces || !contents)
    return false;
  bool matrix = parameter.kind == SiteKind::Linear || parameter.kind == SiteKind::Embedding;
  return sameContents(update.tensors.at(traits.elements), *contents,
                      matrix && placeOf(parameter, update).storedTransposed != parameter.transposed);
}

bool adapter::holdSameNumbers(const ModuleParameter &first, const ModuleParameter &second) {
  auto isMatrix = [](const ModuleParameter &each) {
    return each.value && (each.kind == SiteKind::Embedding || each.kind == SiteKind::Linear);
  };
  if (!isMatrix(first) || !isMatrix(second) || first.shape != second.shape)
    return false;
  if (first.value == second.value)
    return first.transposed == second.transposed;
  const Tensor *a = contentsOf(first), *b = contentsOf(second);
  return a && b && sameContents(*a, *b, first.transposed != second.transposed);
}

//===----------------------------------------------------------------------===//
// Ops
//===----------------------------------------------------------------------===//

std::string adapter::tensorKey(const Update &update, StringRef role) {
  return update.module + "." + update.parameter + "." + update.formText() + "." + role.str();
}

namespace {
class FormBuilder {
public:
  FormBuilder(ImplicitLocOpBuilder &b, const Update &update, StringRef scope)
      : b(b), update(update), scope(scope) {}
  Value one(const std::string &role, Tensor tensor);
  // Of masked modules the tensor that they are mixed to.
  Value mixed(const std::string &role);

private:
  ImplicitLocOpBuilder &b;
  const Update &update;
  StringRef scope;
};
} // namespace

Value FormBuilder::one(const std::string &role, Tensor tensor) {
  auto type = RankedTensorType::get(tensor.shape, elementTypeOf(tensor.dtype, b.getContext()));
  std::string key =
      ParameterStore::get(b.getContext()).add(scope, tensorKey(update, role), std::move(tensor));
  return ParameterOp::create(b, type, b.getStringAttr(scope), b.getStringAttr(key), ElementsAttr(),
                             StringAttr());
}

Value FormBuilder::mixed(const std::string &role) {
  SmallVector<Value> factors, masks;
  for (int i = 0; i < update.masked->count; ++i) {
    std::string number = "." + std::to_string(i);
    factors.push_back(one(role + number, update.tensors.at(role + number)));
    masks.push_back(one("mask" + number, update.tensors.at("mask" + number)));
  }
  return MaskMixOp::create(b, factors.front().getType(), *symbolizeMaskMixMode(word(update.masked->mode)),
                           factors, masks,
                           /*disjoint=*/true);
}

Value adapter::buildUpdate(ImplicitLocOpBuilder &builder, const Update &update,
                           const ModuleParameter &parameter, StringRef scope, double scale,
                           const ModuleParameter *weight) {
  FormBuilder tensors(builder, update, scope);
  return buildApply(builder, definitionOf(update, parameter), update, parameter, weight, scale,
                    [&](StringRef role, const Tensor *contents) {
                      return contents ? tensors.one(role.str(), *contents) : tensors.mixed(role.str());
                    });
}
