// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The manifest of an artifact.
#include "lib/Pipelines/Manifest.h"
#include "adapter-rt/artifact.h"
#include "adapter/Version.h"
#include "dialects/Kernel/IR/KernelOps.h"
#include "dialects/ONNX/IR/ONNXOps.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Codegen/GPU/Passes.h"
#include "lib/Codegen/KeyLayout.h"
#include "lib/Support/ParameterStore.h"

using namespace mlir;
using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Status;

ManifestBuilder::ManifestBuilder(const CompileOptions &options) : options(options) {
  manifest.set_abi_version(ADAPTER_ABI_VERSION);
  manifest.set_producer("adapter-opt " ADAPTER_VERSION);
  manifest.set_target_triple(options.target.triple);
  manifest.set_cpu(options.target.cpu);
  for (const std::string &feature : options.target.requiredFeatures)
    manifest.add_cpu_features(feature);
}

static void describe(artifact::Tensor &tensor, StringRef name, Type onnxType, RankedTensorType type) {
  tensor.set_name(name.str());
  auto dims = onnxir::DimsAttr();
  Type element = type.getElementType();
  if (auto ranked = dyn_cast<RankedTensorType>(onnxType)) {
    dims = dyn_cast_or_null<onnxir::DimsAttr>(ranked.getEncoding());
    element = ranked.getElementType(); // with its sign
  }
  tensor.set_dtype(static_cast<int32_t>(dtypeOf(element)));
  for (int64_t dim = 0; dim < type.getRank(); ++dim) {
    bool dynamic = type.isDynamicDim(dim);
    tensor.add_dims(dynamic ? -1 : type.getDimSize(dim));
    bool named = dynamic && dims && dim < static_cast<int64_t>(dims.getNames().size());
    tensor.add_dim_names(named ? dims.getNames()[dim].getValue().str() : "");
  }
}

// Numbers of states are even for keys and odd for values.
static void describeKept(artifact::State &state, const artifact::Tensor &input, int64_t number,
                         int64_t block) {
  artifact::Kept &kept = *state.mutable_kept();
  int64_t width = input.dims(input.dims_size() - 1);
  kept.set_number(static_cast<int32_t>(number));
  KeyLayout layout{width, width, block};
  kept.set_numbers(number % 2 ? layout.valueNumbers() : layout.keyNumbers());
  kept.set_block(layout.step());
}

static void describe(artifact::Entry &entry, onnxir::SessionAttr attribute, int64_t block) {
  artifact::Session &session = *entry.mutable_session();
  for (onnxir::StateAttr state : attribute.getStates()) {
    artifact::State &described = *session.add_states();
    described.set_past(static_cast<int32_t>(state.getPast()));
    described.set_present(static_cast<int32_t>(state.getPresent()));
    described.set_axis(static_cast<int32_t>(state.getAxis()));
    if (state.getKept() >= 0)
      describeKept(described, entry.inputs(described.past()), state.getKept(), block);
  }
  session.set_mask(static_cast<int32_t>(attribute.getMask()) + 1);
  session.set_positions(static_cast<int32_t>(attribute.getPositions()) + 1);
  session.set_apart(attribute.getApart());
}

Status ManifestBuilder::addParameters(func::FuncOp function) {
  ParameterStore &store = ParameterStore::get(function.getContext());
  auto table = function->getAttrOfType<ArrayAttr>(parametersAttribute);
  SmallVector<int64_t> moved;
  for (auto row : table.getAsRange<ParameterRowAttr>()) {
    std::string scope = row.getScope().str(), key = row.getKey().str();
    // A site's parameter is its own, though others may hold the same numbers.
    std::string site = row.getSite() ? row.getSite().getValue().str() : "";
    std::string name = scope + "/" + key + (site.empty() ? "" : "@" + site);
    const checkpoint::Tensor *tensor = store.lookup(scope, key);
    if (!tensor)
      return Error{"parameter '" + scope + "'::'" + key + "' has no contents"};
    auto [place, isNew] = rows.try_emplace(name, parameters.size());
    // What several models hold, an embedding say, is stored once.
    if (isNew && site.empty()) {
      std::string contents = checkpoint::shapeText(tensor->shape) + checkpoint::dtypeName(tensor->dtype) +
                             checkpoint::hashBytes(tensor->data, tensor->bytes);
      auto [equal, isFirst] = byContents.try_emplace(contents, place->second);
      place->second = equal->second;
      isNew = isFirst;
    }
    moved.push_back(place->second);
    if (!isNew)
      continue;
    if (!site.empty() && !siteParameter.try_emplace(site, parameters.size()).second)
      readTwice.insert(site);
    parameters.push_back(*tensor);
    checkpoint::Tensor &copy = parameters.back();
    copy.key = name;
    artifact::Parameter &parameter = *manifest.add_parameters();
    parameter.set_name(copy.key);
    parameter.set_dtype(static_cast<int32_t>(copy.dtype));
    for (int64_t size : copy.shape)
      parameter.add_dims(size);
  }
  function.walk([&](kernel::ParameterOp op) { op.setIndex(moved[op.getIndex()]); });
  auto setFormat = [&](Operation *product, Value weight, kernel::FormatAttr format) {
    if (auto parameter = weight ? weight.getDefiningOp<kernel::ParameterOp>() : kernel::ParameterOp();
        parameter && format) {
      artifact::Parameter &row = *manifest.mutable_parameters(static_cast<int>(parameter.getIndex()));
      row.set_format(format.text());
      auto partial = product->getAttrOfType<IntegerAttr>(kernel::partialGroupAttribute);
      row.set_depth(partial ? partial.getInt()
                            : cast<ShapedType>(weight.getType()).getDimSize(1) * format.steps());
      depths[parameter.getIndex()] = partial ? partial.getInt() : 0;
      formats[parameter.getIndex()] = format;
    }
  };
  function.walk([&](kernel::LinearOp op) { setFormat(op, op.getWeight(), op.getFormatAttr()); });
  function.walk([&](kernel::RowLinearOp op) { setFormat(op, op.getWeight(), op.getFormatAttr()); });
  return Done{};
}

Status ManifestBuilder::addEntry(func::FuncOp function) {
  artifact::Entry &entry = *manifest.add_entries();
  entry.set_name(function.getName().str());
  entry.set_function(symbols.size());
  symbols.push_back(entrySymbol(function.getName()));
  auto inputs = function->getAttrOfType<ArrayAttr>(inputsAttribute);
  auto inputNames = function->getAttrOfType<ArrayAttr>(inputNamesAttribute);
  auto outputs = function->getAttrOfType<ArrayAttr>(outputsAttribute);
  auto outputNames = function->getAttrOfType<ArrayAttr>(outputNamesAttribute);
  for (auto [i, type] : llvm::enumerate(function.getArgumentTypes()))
    describe(*entry.add_inputs(), cast<StringAttr>(inputNames[i]).getValue(),
             cast<TypeAttr>(inputs[i]).getValue(), cast<RankedTensorType>(type));
  for (auto [i, type] : llvm::enumerate(function.getResultTypes()))
    describe(*entry.add_outputs(), outputNames ? cast<StringAttr>(outputNames[i]).getValue() : "",
             cast<TypeAttr>(outputs[i]).getValue(), cast<RankedTensorType>(type));
  for (const auto *tensors : {&entry.inputs(), &entry.outputs()})
    for (const artifact::Tensor &tensor : *tensors)
      if (tensor.dims_size() > ADAPTER_MAX_RANK)
        return Error{"'" + tensor.name() + "' has more than " + std::to_string(ADAPTER_MAX_RANK) +
                     " dimensions"};
  // Rows are in front of the first input that is no scalar, unless the user says otherwise.
  for (const artifact::Tensor &tensor : entry.inputs()) {
    bool named = tensor.name() == options.rowInput;
    if (!named && (!entry.row_input().empty() || tensor.dims_size() == 0))
      continue;
    entry.set_row_input(tensor.name());
    int32_t axis = named ? options.rowAxis : 0;
    entry.set_row_axis(axis);
    // Tokens lie beside the rows, as convert-onnx-to-linalg has it.
    entry.set_token_axis(axis + 1 < tensor.dims_size() ? axis + 1 : std::max(axis - 1, 0));
    if (named)
      break;
  }
  if (auto session = function->getAttrOfType<onnxir::SessionAttr>(onnxir::sessionAttribute))
    describe(entry, session, options.target.codegen.columnBlock());
  return Done{};
}

Status ManifestBuilder::addEntries(ModuleOp module) {
  for (auto function : module.getOps<func::FuncOp>()) {
    if (!function->hasAttr(parametersAttribute))
      continue;
    if (Status status = addParameters(function); !status)
      return status;
    if (Status status = addEntry(function); !status)
      return status;
  }
  if (symbols.empty())
    return Error{"the input holds no model to compile"};
  return Done{};
}

Status ManifestBuilder::addExperts(ModuleOp module) {
  std::map<std::string, int64_t> numbers; // by name and identity: graphs may share a layer
  module.walk([&](kernel::DispatchOp op) {
    auto offsets = cast<ShapedType>(op.getOffsets().getType());
    if (!op.getLayer() || !op.getIdentity() || offsets.isDynamicDim(0))
      return;
    std::string key = (*op.getLayer() + " " + *op.getIdentity()).str();
    auto [number, isNew] = numbers.try_emplace(key, manifest.expert_layers_size());
    if (isNew) {
      artifact::ExpertLayer &layer = *manifest.add_expert_layers();
      layer.set_name(op.getLayer()->str());
      layer.set_identity(op.getIdentity()->str());
      layer.set_experts(offsets.getDimSize(0) - 1);
    }
    op.setNumber(number->second);
  });
  int64_t ranks = options.partition.ranks, other = 0;
  module.walk([&](kernel::UniqueRowsOp op) {
    int64_t here = cast<ShapedType>(op.getBounds().getType()).getDimSize(0) - 1;
    if (ranks && here != ranks)
      other = here;
    ranks = here;
  });
  if (other)
    return Error{"experts are partitioned over " + std::to_string(ranks) + " ranks and over " +
                 std::to_string(other)};
  manifest.set_ranks(static_cast<int32_t>(ranks));
  return Done{};
}

void ManifestBuilder::addDevice(ModuleOp module) {
  const CodegenOptions &codegen = options.target.codegen;
  artifact::Device &device = *manifest.mutable_device();
  StringRef kind = codegen.kind == TargetKind::NVIDIA ? "nvidia"
                   : codegen.kind == TargetKind::AMD  ? "amd"
                                                      : "spirv";
  device.set_target((kind + ":" + codegen.chip).str());
  device.set_format(deviceFormat(codegen.kind).str());
  for (auto row : module->getAttrOfType<ArrayAttr>(kernelTable).getAsRange<DictionaryAttr>()) {
    auto number = [&](StringRef name) { return static_cast<int32_t>(row.getAs<IntegerAttr>(name).getInt()); };
    artifact::Kernel &kernel = *device.add_kernels();
    kernel.set_name(row.getAs<StringAttr>("name").getValue().str());
    kernel.set_threads(number("threads"));
    kernel.set_buffers(number("buffers"));
    kernel.set_scalars(number("scalars"));
  }
}
