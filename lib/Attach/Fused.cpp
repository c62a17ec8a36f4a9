// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of modules that a graph holds in one tensor become one update of that tensor: low-rank factors side
// by side, zeros where they do not meet; whole values written over what the graph has.
#include "lib/Attach/Fused.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Tensor;
using checkpoint::Update;

int64_t adapter::outputsOf(const Update &update) {
  auto factor = update.tensors.find("B");
  const Tensor &tensor = factor != update.tensors.end() ? factor->second : update.tensors.begin()->second;
  return tensor.shape.empty() ? 0 : tensor.shape[0];
}

std::optional<FusedPart> adapter::partOf(ModuleParameter &fused, const Update &update,
                                         const FusedName &name) {
  int64_t whole = fused.shape[0], size = outputsOf(update);
  int64_t behind = name.count - 1 - name.place; // parts of this size behind this one
  bool hasFirst = name.count > 2;               // of a size of its own
  FusedPart part{&fused, name.place ? whole - (behind + 1) * size : 0, size};
  bool fits = !hasFirst ? whole == name.count * size : name.place ? part.offset > 0 : whole > size;
  return fits && size > 0 ? std::optional(part) : std::nullopt;
}

//===----------------------------------------------------------------------===//
// Updates
//===----------------------------------------------------------------------===//

static const float *floatsOf(const Tensor &tensor) { return reinterpret_cast<const float *>(tensor.data); }
static float *mutableFloats(Tensor &tensor) {
  return reinterpret_cast<float *>(checkpoint::mutableData(tensor));
}

// [sum of ranks, in] and [outputs, sum of ranks], the scales in the latter.
static Result<Update> fuseFactors(const std::vector<PartUpdate> &parts, Update result) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  int64_t outputs = parameter.shape[0], inputs = parameter.shape[1], rank = 0;
  for (const PartUpdate &each : parts) {
    if (each.update->tasks)
      return Error{"the graph fuses it with other modules in '" + parameter.module +
                   "', where its task must be known; name it with --bind NAME.task=N"};
    rank += each.update->tensors.at("A").shape[0];
  }
  Tensor down = checkpoint::allocateTensor(checkpoint::DType::F32, {rank, inputs});
  Tensor up = checkpoint::allocateTensor(checkpoint::DType::F32, {outputs, rank});
  int64_t begin = 0;
  for (const PartUpdate &each : parts) {
    const Tensor &a = each.update->tensors.at("A"), &b = each.update->tensors.at("B");
    if (a.shape.size() != 2 || a.shape[1] != inputs || b.shape.size() != 2 || b.shape[1] != a.shape[0])
      return Error{"'" + a.key + "' has shape " + checkpoint::shapeText(a.shape) + ", expected [" +
                   std::to_string(a.shape[0]) + ", " + std::to_string(inputs) + "] for the graph's linear (" +
                   parameter.nodeName() + ")"};
    Result<Tensor> wideA = checkpoint::toF32(a), wideB = checkpoint::toF32(b);
    if (!wideA || !wideB)
      return wideA ? wideB.error() : wideA.error();
    int64_t own = a.shape[0];
    std::memcpy(mutableFloats(down) + begin * inputs, floatsOf(*wideA), own * inputs * sizeof(float));
    for (int64_t row = 0; row < each.part.size; ++row)
      for (int64_t r = 0; r < own; ++r)
        mutableFloats(up)[(each.part.offset + row) * rank + begin + r] =
            static_cast<float>(each.update->scale * floatsOf(*wideB)[row * own + r]);
    begin += own;
  }
  down.key = parts.front().update->tensors.at("A").key;
  up.key = parts.front().update->tensors.at("B").key;
  result.rank = rank;
  result.scale = 1.0;
  result.tensors = {{"A", down}, {"B", up}};
  return result;
}

// The norms of outputs that no part sets are the base's, which a checkpoint does not hold.
static Result<Update> fuseMagnitudes(const std::vector<PartUpdate> &parts, Update result) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  int64_t covered = 0;
  for (const PartUpdate &each : parts)
    covered += each.part.size;
  if (covered != parameter.shape[0])
    return Error{"the graph fuses it with other modules in '" + parameter.module +
                 "', and DoRA acts on some of them only; export without fusing them"};
  Tensor magnitude = checkpoint::allocateTensor(checkpoint::DType::F32, {parameter.shape[0]});
  for (const PartUpdate &each : parts) {
    Result<Tensor> own = checkpoint::toF32(each.update->tensors.at("magnitude"));
    if (!own)
      return own.error();
    std::memcpy(mutableFloats(magnitude) + each.part.offset, floatsOf(*own), each.part.size * sizeof(float));
  }
  magnitude.key = parts.front().update->tensors.at("magnitude").key;
  result.tensors.emplace("magnitude", magnitude);
  return result;
}

// Values over a copy of what the graph has, or over zeros where they are added.
static Result<Update> fuseValues(const std::vector<PartUpdate> &parts, Update result) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  std::vector<int64_t> shape(parameter.shape.begin(), parameter.shape.end());
  int64_t outputs = shape[0], width = shape.size() > 1 ? shape[1] : 1;
  Tensor value = checkpoint::allocateTensor(checkpoint::DType::F32, shape);
  bool adds = result.form == "add";
  if (!adds) {
    const Tensor *base = ParameterStore::get(parameter.value.getContext())
                             .lookup(parameter.value.getScope(), parameter.value.getKey());
    Result<Tensor> wide = base ? checkpoint::toF32(*base) : Error{"the graph's tensor has no contents"};
    if (!wide)
      return wide.error();
    for (int64_t row = 0; row < outputs; ++row)
      for (int64_t column = 0; column < width; ++column)
        mutableFloats(value)[row * width + column] =
            floatsOf(*wide)[parameter.transposed ? column * outputs + row : row * width + column];
  }
  for (const PartUpdate &each : parts) {
    const Tensor &own = each.update->tensors.at("value");
    Result<Tensor> wide = checkpoint::toF32(own);
    if (!wide)
      return wide.error();
    // A part may be stored [in, out]; of a square one its contents in the base tell.
    bool turned =
        width > 1 && own.shape.size() == 2 &&
        (each.storedTransposed || (own.shape[0] != each.part.size && own.shape[1] == each.part.size));
    if (own.elements() != each.part.size * width || (width > 1 && own.shape.size() != 2) ||
        (width > 1 && own.shape[turned ? 1 : 0] != each.part.size))
      return Error{"'" + own.key + "' has shape " + checkpoint::shapeText(own.shape) + ", expected " +
                   std::to_string(each.part.size) + " of the " + std::to_string(outputs) + " outputs of '" +
                   parameter.module + "'"};
    for (int64_t i = 0; i < own.elements(); ++i) {
      int64_t from = turned ? i % width * each.part.size + i / width : i;
      mutableFloats(value)[each.part.offset * width + i] =
          static_cast<float>(adds ? each.update->scale * floatsOf(*wide)[from] : floatsOf(*wide)[from]);
    }
  }
  // A square tensor's orientation is taken from what the module stored, which is not known here.
  if (width > 1 && width == outputs)
    return Error{"the graph fuses it into the square weight of '" + parameter.module + "'; export without"};
  value.key = parts.front().update->tensors.at("value").key;
  result.scale = 1.0;
  result.tensors = {{"value", value}};
  return result;
}

Result<Update> adapter::fuseUpdates(const std::vector<PartUpdate> &parts) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  Update result = *parts.front().update;
  result.module = parameter.module.empty() ? result.module : parameter.module;
  if (result.form == "add" || result.form == "replace")
    return fuseValues(parts, std::move(result));
  if (result.form != "lora" && result.form != "lora+dora")
    return Error{"the form '" + result.form + "' cannot act on a part of the fused weight of '" +
                 parameter.module + "'; export without fusing"};
  bool dora = result.form == "lora+dora";
  Result<Update> fused = fuseFactors(parts, std::move(result));
  return fused && dora ? fuseMagnitudes(parts, std::move(*fused)) : std::move(fused);
}

//===----------------------------------------------------------------------===//
// Splitting
//===----------------------------------------------------------------------===//

// Rows [begin, begin + size) of a tensor [rows, ...].
static Result<Tensor> rowsOf(const Tensor &tensor, int64_t begin, int64_t size) {
  if (tensor.shape.empty() || tensor.shape[0] < begin + size)
    return Error{"'" + tensor.key + "' has shape " + checkpoint::shapeText(tensor.shape) +
                 ", but the graph's modules have more outputs"};
  Tensor part = tensor;
  size_t row = tensor.bytes / tensor.shape[0];
  part.shape[0] = size;
  part.data += begin * row;
  part.bytes = size * row;
  return part;
}

Result<std::vector<Update>> adapter::splitUpdate(const Update &update, const std::vector<int64_t> &sizes) {
  // What each form has for every output; the other tensors act on all parts alike.
  static constexpr const char *byOutput[] = {"B", "magnitude", "value"};
  bool isKnown =
      update.form == "lora" || update.form == "lora+dora" || update.form == "add" || update.form == "replace";
  if (!isKnown || update.tasks)
    return Error{"the graph splits it into several modules, over which an update of the form '" +
                 update.form + "' cannot be split; export without splitting"};
  std::vector<Update> result;
  int64_t begin = 0;
  for (int64_t size : sizes) {
    Update part = update;
    for (const char *role : byOutput)
      if (auto tensor = part.tensors.find(role); tensor != part.tensors.end()) {
        Result<Tensor> rows = rowsOf(tensor->second, begin, size);
        if (!rows)
          return rows.error();
        tensor->second = std::move(*rows);
      }
    begin += size;
    result.push_back(std::move(part));
  }
  if (begin != outputsOf(update))
    return Error{"it has " + std::to_string(outputsOf(update)) + " outputs, but the graph's modules have " +
                 std::to_string(begin) + " together"};
  return result;
}
