// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of modules that a graph holds in one tensor become one update of that tensor: low-rank factors side
// by side, zeros where they do not meet; whole values written over what the graph has.
#include "lib/Attach/Fused.h"
#include "lib/Attach/FormUse.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Tensor;
using checkpoint::Update;

int64_t adapter::outputsOf(const Update &update, const ModuleParameter &parameter) {
  FormTraits traits = traitsOf(update, parameter);
  // A mixture has the factors B of its experts in one tensor.
  std::string role = traits.isFactors() ? traits.outer : traits.elements.empty() ? "B" : traits.elements;
  auto tensor = update.tensors.find(role);
  if (tensor == update.tensors.end())
    tensor = update.tensors.begin();
  return tensor->second.shape.empty() ? 0 : tensor->second.shape[0];
}

std::optional<FusedPart> adapter::partOf(ModuleParameter &fused, const Update &update,
                                         const FusedName &name) {
  int64_t whole = fused.shape[0], size = outputsOf(update, fused);
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
static Result<Update> fuseFactors(const std::vector<PartUpdate> &parts, const FormTraits &traits,
                                  Update result) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  int64_t outputs = parameter.shape[0], inputs = parameter.shape[1], rank = 0;
  for (const PartUpdate &each : parts) {
    if (each.update->tasks)
      return Error{"the graph fuses it with other modules in '" + parameter.module +
                   "', where its task must be known; name it with --bind NAME.task=N"};
    rank += each.update->tensors.at(traits.inner).shape[0];
  }
  Tensor down = checkpoint::allocateTensor(checkpoint::DType::F32, {rank, inputs});
  Tensor up = checkpoint::allocateTensor(checkpoint::DType::F32, {outputs, rank});
  int64_t begin = 0;
  for (const PartUpdate &each : parts) {
    const Tensor &a = each.update->tensors.at(traits.inner), &b = each.update->tensors.at(traits.outer);
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
  down.key = parts.front().update->tensors.at(traits.inner).key;
  up.key = parts.front().update->tensors.at(traits.outer).key;
  result.rank = rank;
  result.scale = 1.0;
  result.tensors = {{traits.inner, down}, {traits.outer, up}};
  return result;
}

// The norms of outputs that no part sets are the base's, which a checkpoint does not hold.
static Result<Update> fuseLengths(const std::vector<PartUpdate> &parts, const std::string &role,
                                  Update result) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  int64_t covered = 0;
  for (const PartUpdate &each : parts)
    covered += each.part.size;
  if (covered != parameter.shape[0])
    return Error{"the graph fuses it with other modules in '" + parameter.module +
                 "', and it rescales the outputs of some of them only; export without fusing them"};
  Tensor magnitude = checkpoint::allocateTensor(checkpoint::DType::F32, {parameter.shape[0]});
  for (const PartUpdate &each : parts) {
    Result<Tensor> own = checkpoint::toF32(each.update->tensors.at(role));
    if (!own)
      return own.error();
    std::memcpy(mutableFloats(magnitude) + each.part.offset, floatsOf(*own), each.part.size * sizeof(float));
  }
  magnitude.key = parts.front().update->tensors.at(role).key;
  result.tensors.emplace(role, magnitude);
  return result;
}

// Values over a copy of what the graph has, or over zeros where they are added.
static Result<Update> fuseValues(const std::vector<PartUpdate> &parts, const FormTraits &traits,
                                 Update result) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  std::vector<int64_t> shape(parameter.shape.begin(), parameter.shape.end());
  int64_t outputs = shape[0], width = shape.size() > 1 ? shape[1] : 1;
  Tensor value = checkpoint::allocateTensor(checkpoint::DType::F32, shape);
  bool adds = !traits.replaces;
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
    const Tensor &own = each.update->tensors.at(traits.elements);
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
  value.key = parts.front().update->tensors.at(traits.elements).key;
  result.scale = 1.0;
  result.tensors = {{traits.elements, value}};
  return result;
}

Result<Update> adapter::fuseUpdates(const std::vector<PartUpdate> &parts) {
  ModuleParameter &parameter = *parts.front().part.parameter;
  Update result = *parts.front().update;
  result.module = parameter.module.empty() ? result.module : parameter.module;
  FormTraits traits = traitsOf(result, parameter);
  if (traits.isWhole())
    return fuseValues(parts, traits, std::move(result));
  if (!traits.isFactors() || result.masked)
    return Error{"the form '" + result.formText() + "' cannot act on a part of the fused weight of '" +
                 parameter.module + "'; export without fusing"};
  Result<Update> fused = fuseFactors(parts, traits, std::move(result));
  return fused && !traits.length.empty() ? fuseLengths(parts, traits.length, std::move(*fused))
                                         : std::move(fused);
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

Result<std::vector<Update>> adapter::splitUpdate(const Update &update,
                                                 const std::vector<ModuleParameter *> &modules) {
  FormTraits traits = traitsOf(update, *modules.front());
  if ((!traits.isFactors() && !traits.isWhole()) || update.tasks || update.masked)
    return Error{"the graph splits it into several modules, over which an update of the form '" +
                 update.formText() + "' cannot be split; export without splitting"};
  // What there is for every output; the other tensors act on all parts alike.
  const std::string byOutput[] = {traits.outer, traits.length, traits.elements};
  std::vector<Update> result;
  int64_t begin = 0;
  for (ModuleParameter *module : modules) {
    int64_t size = module->shape[0];
    Update part = update;
    for (const std::string &role : byOutput)
      if (auto tensor = part.tensors.find(role); tensor != part.tensors.end()) {
        Result<Tensor> rows = rowsOf(tensor->second, begin, size);
        if (!rows)
          return rows.error();
        tensor->second = std::move(*rows);
      }
    begin += size;
    result.push_back(std::move(part));
  }
  if (int64_t outputs = outputsOf(update, *modules.front()); begin != outputs)
    return Error{"it has " + std::to_string(outputs) + " outputs, but the graph's modules have " +
                 std::to_string(begin) + " together"};
  return result;
}
