// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Tensors that fit, as a form's functions take them. Contents are checked here, where shapes say nothing of them.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Signature/Signature.h"
#include <algorithm>
#include <cstring>

namespace adapter::forms {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Tensor;

static bool isTurned(const Place &place) { return place.kind == "embedding" || place.storedTransposed; }

Shape deliveredShape(const Role &role, const Place &place, const Symbols &symbols, const Shape &given) {
  if (role.layout == RoleLayout::Weight)
    return isTurned(place) ? Shape{place.columns(), place.out} : Shape{place.out, place.columns()};
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

static const int64_t *numbersOf(const Tensor &tensor) {
  return reinterpret_cast<const int64_t *>(tensor.data);
}

// Indices within what they index, ascending and distinct.
static Status checkIndices(const Role &role, const Tensor &tensor, const Place &place,
                           const Symbols &symbols) {
  const int64_t *index = numbersOf(tensor);
  bool isCoordinates = role.layout == RoleLayout::Coordinates;
  Shape limits = isCoordinates ? place.stored() : Shape();
  if (isCoordinates && tensor.shape[0] != static_cast<int64_t>(limits.size()))
    limits = {place.out, place.columns()};
  auto bound = symbols.find(role.indexOf);
  bool isFree = !isCoordinates && bound == symbols.end();
  if (!isCoordinates)
    limits = {isFree ? INT64_MAX : bound->second};
  auto axes = static_cast<int64_t>(limits.size()), count = tensor.elements() / axes;
  const std::vector<const char *> words =
      axes == 2 ? std::vector<const char *>{" rows", " columns"} : std::vector<const char *>(axes, "");
  for (int64_t k = 0; k < count && !isFree; ++k) {
    bool ascends = k == 0;
    for (int64_t axis = 0; axis < axes; ++axis) {
      int64_t at = index[axis * count + k];
      if (at < 0 || at >= limits[axis])
        return Error{"tensor '" + tensor.key + "' holds the index " + std::to_string(at) +
                     ", but there are " + std::to_string(limits[axis]) + words[axis] + " in the model's " +
                     place.text};
      int64_t before = k ? index[axis * count + k - 1] : -1;
      if (!ascends && at < before)
        return Error{"tensor '" + tensor.key + "': its indices are not in ascending order"};
      ascends = ascends || at > before;
    }
    if (!ascends)
      return Error{"tensor '" + tensor.key + "' names an element twice"};
  }
  return Done{};
}

// What is not within its limits is found where it is used.
static Status checkPermutation(const Tensor &tensor) {
  std::vector<int64_t> order(numbersOf(tensor), numbersOf(tensor) + tensor.elements());
  std::sort(order.begin(), order.end());
  auto twice = std::adjacent_find(order.begin(), order.end());
  if (twice != order.end())
    return Error{"tensor '" + tensor.key + "' is no permutation: it names element " + std::to_string(*twice) +
                 " twice"};
  return Done{};
}

// Places in a convolution's weight as those of (output, column).
static Tensor inTwoAxes(const Tensor &places, const Place &place) {
  Shape axes = place.stored();
  int64_t count = places.shape[1];
  Tensor made = checkpoint::allocateTensor(places.dtype, {2, count});
  made.key = places.key;
  auto *into = reinterpret_cast<int64_t *>(checkpoint::mutableData(made));
  const int64_t *from = numbersOf(places);
  for (int64_t k = 0; k < count; ++k) {
    int64_t column = 0;
    for (size_t axis = 1; axis < axes.size(); ++axis)
      column = column * axes[axis] + from[static_cast<int64_t>(axis) * count + k];
    into[k] = from[k];
    into[count + k] = column;
  }
  return made;
}

// (input, output) as (output, input).
static Tensor exchangedAxes(const Tensor &places) {
  Tensor made = checkpoint::allocateTensor(places.dtype, places.shape);
  made.key = places.key;
  size_t half = places.bytes / 2;
  std::memcpy(checkpoint::mutableData(made), places.data + half, half);
  std::memcpy(checkpoint::mutableData(made) + half, places.data, half);
  return made;
}

Result<Tensor> withinLimits(const Role &role, const Place &place, const Symbols &symbols,
                            const Tensor &tensor) {
  if (!role.isIndex)
    return tensor;
  Result<Tensor> numbers = checkpoint::toI64(tensor);
  if (!numbers)
    return numbers.error();
  if (Status status = checkIndices(role, *numbers, place, symbols); !status)
    return status.error();
  if (role.isPermutation)
    if (Status status = checkPermutation(*numbers); !status)
      return status.error();
  bool isInAxes =
      role.layout == RoleLayout::Coordinates && place.kind == "convolution" && numbers->shape[0] != 2;
  return isInAxes ? inTwoAxes(*numbers, place) : *numbers;
}

Result<Tensor> deliver(const Role &role, const Place &place, const Symbols &symbols, const Tensor &tensor,
                       bool besideBias) {
  Result<Tensor> made = withinLimits(role, place, symbols, tensor);
  if (!made)
    return made;
  // A bias does not know how the weight beside it is stored.
  bool isTurnedBack = besideBias && isTurned(place);
  made->shape = deliveredShape(role, place, symbols, made->shape);
  if (isTurnedBack && role.layout == RoleLayout::Weight)
    return checkpoint::transposedMatrix(*made);
  if (isTurnedBack && role.layout == RoleLayout::Coordinates)
    return exchangedAxes(*made);
  return made;
}

} // namespace adapter::forms
