// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Updates of modules that a graph holds in one tensor become one update of that tensor: low-rank factors side
// by side, zeros where they do not meet; whole values written over what the graph has.
#include "lib/Attach/Fused.h"
#include "lib/Attach/Match.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Support/ParameterStore.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Tensor;
using checkpoint::Update;

//===----------------------------------------------------------------------===//
// Names
//===----------------------------------------------------------------------===//

// Path components as checkpoints and as the GenAI model builder write them.
static constexpr std::pair<const char *, const char *> renamed[] = {{"self_attn", "attn"},
                                                                    {"self_attention", "attn"}};
// The modules in a fused one, in the order of their outputs; all but the first are of one size.
static constexpr struct {
  const char *whole;
  const char *parts[3];
} fusions[] = {{"qkv_proj", {"q_proj", "k_proj", "v_proj"}},
               {"gate_up_proj", {"gate_proj", "up_proj", nullptr}}};

std::vector<std::string> adapter::otherNames(const std::string &module) {
  std::vector<std::string> result;
  SmallVector<StringRef> parts;
  StringRef(module).split(parts, '.');
  for (auto [theirs, builder] : renamed)
    for (StringRef &part : parts)
      if (part == theirs) {
        SmallVector<StringRef> other(parts);
        other[&part - parts.begin()] = builder;
        result.push_back(llvm::join(other, "."));
      }
  return result;
}

int64_t adapter::outputsOf(const Update &update) {
  auto factor = update.tensors.find("B");
  const Tensor &tensor = factor != update.tensors.end() ? factor->second : update.tensors.begin()->second;
  return tensor.shape.empty() ? 0 : tensor.shape[0];
}

std::optional<FusedPart> adapter::findFused(const ModuleTable &table, const Update &update) {
  std::vector<std::string> paths = otherNames(update.module);
  paths.insert(paths.begin(), update.module);
  for (const std::string &path : paths) {
    auto [parent, name] = StringRef(path).rsplit('.');
    for (const auto &fusion : fusions)
      for (int64_t place = 0; place < 3; ++place) {
        if (name.empty() || !fusion.parts[place] || name != fusion.parts[place])
          continue;
        Match match = matchModule(table, (parent + "." + fusion.whole).str(), update.parameter);
        if (match.found.size() != 1)
          continue;
        int64_t whole = match.found.front()->shape[0], size = outputsOf(update);
        int64_t behind = fusion.parts[2] ? 2 - place : 1 - place; // modules of this size behind the first
        FusedPart part{match.found.front(), place ? whole - (behind + 1) * size : 0, size};
        bool fits = place ? part.offset > 0 : whole > size;
        if (!fusion.parts[2])
          fits = whole == 2 * size;
        if (fits && size > 0)
          return part;
      }
  }
  return std::nullopt;
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
    if (own.elements() != each.part.size * width)
      return Error{"'" + own.key + "' has shape " + checkpoint::shapeText(own.shape) + ", expected " +
                   std::to_string(each.part.size) + " of the " + std::to_string(outputs) + " outputs of '" +
                   parameter.module + "'"};
    for (int64_t i = 0; i < own.elements(); ++i)
      mutableFloats(value)[each.part.offset * width + i] =
          static_cast<float>(adds ? each.update->scale * floatsOf(*wide)[i] : floatsOf(*wide)[i]);
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
