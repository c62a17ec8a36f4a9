// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors that fit a signature, on their way to the form's body.
#include "lib/Signature/Signature.h"
#include <algorithm>
#include <cstdint>

namespace adapter::forms {

using checkpoint::Done;
using checkpoint::Error;

Status checkIndices(const Role &role, const std::string &key, const std::vector<int64_t> &indices,
                    const Place &place, const Symbols &symbols) {
  bool isCoordinates = role.layout == RoleLayout::Coordinates;
  Shape limits = isCoordinates ? place.stored() : Shape();
  if (!isCoordinates)
    limits = {role.indexOf.empty() ? INT64_MAX : symbols.at(role.indexOf)};
  int64_t axes = static_cast<int64_t>(limits.size());
  std::vector<const char *> words(axes, "");
  if (axes == 2)
    words = {" rows", " columns"};
  int64_t count = static_cast<int64_t>(indices.size()) / std::max<int64_t>(axes, 1);
  for (int64_t k = 0; k < count; ++k) {
    bool ascends = k == 0 || (!isCoordinates && role.indexOf.empty());
    for (int64_t axis = 0; axis < axes; ++axis) {
      int64_t at = indices[axis * count + k];
      if (at < 0 || at >= limits[axis])
        return Error{"tensor '" + key + "' holds the index " + std::to_string(at) + ", but there are " +
                     std::to_string(limits[axis]) + words[axis] + " in the model's " + place.text};
      int64_t before = k ? indices[axis * count + k - 1] : -1;
      if (!ascends && at < before)
        return Error{"tensor '" + key + "': its indices are not in ascending order"};
      ascends = ascends || at > before;
    }
    if (!ascends)
      return Error{"tensor '" + key + "' names an element twice"};
  }
  return Done{};
}

Shape deliveredShape(const Role &role, const Place &place, const Symbols &symbols, const Shape &given) {
  if (role.layout == RoleLayout::Weight)
    return place.taps.empty() && place.kind != "vector" ? given : Shape{place.out, place.columns()};
  if (role.layout == RoleLayout::Coordinates)
    return given;
  int64_t elements = 1, others = 1;
  for (int64_t size : given)
    elements *= size;
  // Of a size with a choice what the others leave.
  Shape delivered;
  std::optional<size_t> chosen;
  for (const Dims::Size &size : role.dims.alternatives().front()) {
    if (size.kind == Dims::Size::Ones)
      continue;
    if (size.kind == Dims::Size::Expressions && size.expressions.size() > 1) {
      chosen = delivered.size();
      delivered.push_back(1);
      continue;
    }
    bool isColumns = size.kind == Dims::Size::Columns;
    Result<int64_t> value =
        isColumns ? Result<int64_t>(place.columns()) : size.expressions[0].evaluate(symbols);
    delivered.push_back(value ? *value : 0);
    others *= delivered.back();
  }
  if (chosen && others)
    delivered[*chosen] = elements / others;
  return delivered;
}

} // namespace adapter::forms
