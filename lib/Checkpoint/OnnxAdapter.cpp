// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX Runtime's .onnx_adapter files: FlatBuffers of the schema
//
//   Adapter   { format_version, adapter_version, model_version: int32; parameters: [Parameter] }
//   Parameter { name: string; dims: [int64]; data_type: int32 of TensorProto; raw_data: [uint8] }
//
// whose parameters are inputs of a graph. Those that the model builder of onnxruntime-genai and Olive write are read,
//
//   <module>.lora_A[.MatMul].weight [in, r],  <module>.lora_B[.MatMul].weight [r, out]   W += (A B)^T
//
// with the scale in B.
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/LowRank.h"
#include "lib/Checkpoint/PeftKeys.h"
#include "lib/Checkpoint/Text.h"
#include <cstring>
#include <optional>
#include <set>

namespace adapter::checkpoint {

namespace {

// A FlatBuffers table: positions in the file, and those of its fields where they are there. Everything that is read
// was checked to lie within the file.
class Buffer {
public:
  explicit Buffer(MappedFile file) : file(std::move(file)) {}

  template <typename T>
  std::optional<T> read(uint64_t at) const {
    T value;
    if (at > file.size || file.size - at < sizeof value)
      return std::nullopt;
    std::memcpy(&value, file.data + at, sizeof value);
    return value;
  }
  // What an offset at a position points to.
  std::optional<uint64_t> follow(uint64_t at) const {
    std::optional<uint32_t> offset = read<uint32_t>(at);
    if (!offset || *offset == 0 || *offset >= file.size - at)
      return std::nullopt;
    return at + *offset;
  }
  // The position of a field of a table: 0 where the field is left out.
  std::optional<uint64_t> field(uint64_t table, int number) const {
    std::optional<int32_t> back = read<int32_t>(table);
    int64_t layout = back ? static_cast<int64_t>(table) - *back : -1;
    std::optional<uint16_t> size = layout < 0 ? std::nullopt : read<uint16_t>(static_cast<uint64_t>(layout));
    if (!size)
      return std::nullopt;
    int place = 4 + 2 * number;
    if (place + 2 > *size)
      return 0;
    std::optional<uint16_t> offset = read<uint16_t>(static_cast<uint64_t>(layout) + place);
    if (!offset)
      return std::nullopt;
    return *offset ? table + *offset : 0;
  }
  struct Items {
    uint64_t start = 0, count = 0;
  };
  // The vector or string that a field holds; an empty one where the field is left out.
  std::optional<Items> items(uint64_t table, int number, size_t itemSize) const {
    std::optional<uint64_t> at = field(table, number);
    if (!at)
      return std::nullopt;
    if (*at == 0)
      return Items{};
    std::optional<uint64_t> start = follow(*at);
    std::optional<uint32_t> count = start ? read<uint32_t>(*start) : std::nullopt;
    if (!count || *count > (file.size - *start - 4) / itemSize)
      return std::nullopt;
    return Items{*start + 4, *count};
  }
  std::optional<int32_t> number(uint64_t table, int field_) const {
    std::optional<uint64_t> at = field(table, field_);
    if (!at)
      return std::nullopt;
    return *at ? read<int32_t>(*at) : 0;
  }

  MappedFile file;
};

class OnnxAdapterReader {
public:
  OnnxAdapterReader(const std::string &path, MappedFile file) : path(path), buffer(std::move(file)) {}
  Result<std::vector<Tensor>> run() const;

private:
  Error damaged(const std::string &what) const {
    return Error{path + ": damaged or truncated: " + what + " lies outside of the file"};
  }
  Result<Tensor> readParameter(uint64_t table, uint64_t index) const;

  const std::string &path;
  Buffer buffer;
};

} // namespace

Result<Tensor> OnnxAdapterReader::readParameter(uint64_t table, uint64_t index) const {
  std::string where = "parameter " + std::to_string(index);
  auto name = buffer.items(table, 0, 1), dims = buffer.items(table, 1, 8), data = buffer.items(table, 3, 1);
  std::optional<int32_t> type = buffer.number(table, 2);
  if (!name || !dims || !data || !type)
    return damaged(where);
  Tensor tensor;
  tensor.key.assign(buffer.file.text().substr(name->start, name->count));
  where = path + ": parameter '" + tensor.key + "' ";
  tensor.dtype = static_cast<DType>(*type);
  if (!isFloat(tensor.dtype) && !isFloat8(tensor.dtype))
    return Error{where + "is " + dtypeName(tensor.dtype) +
                 "; expected floats (quantised adapters are not supported)"};
  if (dims->count > 32)
    return Error{where + "has " + std::to_string(dims->count) + " dimensions"};
  for (uint64_t i = 0; i < dims->count; ++i)
    tensor.shape.push_back(*buffer.read<int64_t>(dims->start + i * 8));
  std::optional<size_t> bytes = tensorBytes(tensor.dtype, tensor.shape);
  if (!bytes || *bytes != data->count)
    return Error{where + "of shape " + shapeText(tensor.shape) + " and type " + dtypeName(tensor.dtype) +
                 " does not fill " + std::to_string(data->count) + " bytes"};
  tensor.data = buffer.file.data + data->start;
  tensor.bytes = data->count;
  tensor.owner = buffer.file.owner;
  return tensor;
}

Result<std::vector<Tensor>> OnnxAdapterReader::run() const {
  std::optional<uint64_t> root = buffer.follow(0);
  std::optional<int32_t> version = root ? buffer.number(*root, 0) : std::nullopt;
  auto parameters = root ? buffer.items(*root, 3, 4) : std::nullopt;
  if (!version || !parameters)
    return damaged("its root");
  if (*version != 1)
    return Error{path + ": has format version " + std::to_string(*version) + "; 1 can be read"};
  std::vector<Tensor> tensors;
  std::set<std::string> names;
  for (uint64_t i = 0; i < parameters->count; ++i) {
    std::optional<uint64_t> table = buffer.follow(parameters->start + i * 4);
    if (!table)
      return damaged("parameter " + std::to_string(i));
    Result<Tensor> tensor = readParameter(*table, i);
    if (!tensor)
      return tensor.error();
    if (!names.insert(tensor->key).second)
      return Error{path + ": parameter '" + tensor->key + "' is there twice"};
    tensors.push_back(std::move(*tensor));
  }
  return tensors;
}

// Each factor under the module's path.
static Status placeFactors(const std::string &file, const std::vector<Tensor> &tensors,
                           std::map<std::string, LowRank> &modules) {
  const std::pair<std::string, const Tensor * LowRank::*> ends[] = {{".lora_A.MatMul.weight", &LowRank::down},
                                                                    {".lora_B.MatMul.weight", &LowRank::up},
                                                                    {".lora_A.weight", &LowRank::down},
                                                                    {".lora_B.weight", &LowRank::up}};
  for (const Tensor &tensor : tensors) {
    const Tensor **held = nullptr;
    std::string path = withoutWrappers(tensor.key);
    for (const auto &[end, role] : ends)
      if (!held && endsWith(path, end) && path.size() > end.size())
        held = &(modules[path.substr(0, path.size() - end.size())].*role);
    if (!held)
      return Error{
          file + ": parameter '" + tensor.key +
          "' has no place: expected <module>.lora_A.MatMul.weight or <module>.lora_A.weight, and the "
          "same with lora_B; names of a graph's inputs tell no more"};
    if (*held)
      return Error{file + ": parameter '" + tensor.key + "' says the same as '" + (*held)->key + "'"};
    if (tensor.shape.size() != 2)
      return Error{file + ": parameter '" + tensor.key + "' has shape " + shapeText(tensor.shape) +
                   "; expected a matrix"};
    *held = &tensor;
  }
  return Done{};
}

bool isOnnxAdapter(std::string_view bytes) { return bytes.size() >= 8 && bytes.substr(4, 4) == "TORT"; }

Status readOnnxAdapter(const std::string &file, Adapter &adapter) {
  Result<MappedFile> mapped = mapFile(file);
  if (!mapped)
    return mapped.error();
  if (!isOnnxAdapter(mapped->text()))
    return Error{file + ": not a file of ONNX Runtime's adapters"};
  Result<std::vector<Tensor>> tensors = OnnxAdapterReader(file, std::move(*mapped)).run();
  if (!tensors)
    return tensors.error();
  if (Status status = checkTensors(file, *tensors); !status)
    return status;
  std::map<std::string, LowRank> modules;
  if (Status status = placeFactors(file, *tensors, modules); !status)
    return status;
  for (const auto &[module, parts] : modules) {
    Result<Update> update = transposedLowRankUpdate(file, module, parts);
    if (!update)
      return update.error();
    adapter.updates.push_back(std::move(*update));
  }
  return Done{};
}

} // namespace adapter::checkpoint
