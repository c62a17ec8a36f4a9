// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reader and writer of safetensors; see Safetensors.h.
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Json.h"
#include <algorithm>
#include <cstring>

namespace adapter::checkpoint {

namespace {

constexpr uint64_t maxHeader = 100'000'000; // the limit of the format's own library
constexpr size_t alignment = 64;
constexpr const char *padPrefix = "__pad.";

struct Range {
  uint64_t begin, end;
};

// One entry of the header, checked but for its place among the others.
Result<Range> readEntry(const std::string &where, const Json &entry, uint64_t dataSize, Tensor &tensor) {
  if (!entry.is_object() || entry.size() != 3 || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    return Error{where + ": expected dtype, shape and data_offsets, and nothing else"};
  const Json &dtype = entry["dtype"], &shape = entry["shape"], &offsets = entry["data_offsets"];
  if (!dtype.is_string() || !dtypeFromSafetensors(dtype.get_ref<const std::string &>()))
    return Error{where + ": unknown dtype " + dtype.dump(-1, ' ', false, Json::error_handler_t::replace)};
  tensor.dtype = *dtypeFromSafetensors(dtype.get_ref<const std::string &>());
  if (!shape.is_array() || shape.size() > 32)
    return Error{where + ": shape is no list of at most 32 sizes"};
  for (const Json &dim : shape) {
    if (!dim.is_number_unsigned() || dim.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX))
      return Error{where + ": shape holds something else than sizes"};
    tensor.shape.push_back(static_cast<int64_t>(dim.get<uint64_t>()));
  }
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned())
    return Error{where + ": data_offsets is no pair of offsets"};
  Range range{offsets[0].get<uint64_t>(), offsets[1].get<uint64_t>()};
  if (range.begin > range.end || range.end > dataSize)
    return Error{where + ": data_offsets [" + std::to_string(range.begin) + ", " + std::to_string(range.end) +
                 "] lie outside the file's " + std::to_string(dataSize) + " bytes of data (truncated file?)"};
  std::optional<size_t> bytes = tensorBytes(tensor.dtype, tensor.shape);
  if (!bytes || *bytes != range.end - range.begin)
    return Error{where + ": shape " + shapeText(tensor.shape) + " of " + dtypeName(tensor.dtype) +
                 " does not fill " + std::to_string(range.end - range.begin) + " bytes"};
  return range;
}

} // namespace

const Tensor *Safetensors::find(const std::string &key) const {
  for (const Tensor &tensor : tensors)
    if (tensor.key == key)
      return &tensor;
  return nullptr;
}

Result<Safetensors> readSafetensors(const std::string &path, bool keepDescriptor) {
  Result<MappedFile> file = mapFile(path, keepDescriptor);
  if (!file)
    return file.error();
  uint64_t headerSize = 0;
  if (file->size < 8)
    return Error{path + ": no safetensors file: shorter than its 8 byte length field"};
  std::memcpy(&headerSize, file->data, 8);
  if (headerSize > maxHeader || headerSize > file->size - 8)
    return Error{path + ": no safetensors file, or a truncated one: its header claims " +
                 std::to_string(headerSize) + " of " + std::to_string(file->size) + " bytes"};
  std::string_view text = file->text().substr(8, headerSize);
  if (text.empty() || text[0] != '{')
    return Error{path + ": no safetensors file: its header does not start with '{'"};
  Result<Json> header = parseJson(text, path + " (header)");
  if (!header)
    return header.error();
  uint64_t dataSize = file->size - 8 - headerSize;
  const std::byte *data = file->data + 8 + headerSize;

  Safetensors result;
  result.file = *file;
  struct Placed {
    Range range;
    Tensor tensor;
  };
  std::vector<Placed> placed;
  for (const auto &[key, entry] : header->items()) {
    if (key == "__metadata__") {
      if (!entry.is_object())
        return Error{path + ": __metadata__ is no object"};
      for (const auto &[name, value] : entry.items()) {
        if (!value.is_string())
          return Error{path + ": __metadata__ holds '" + name + "', which is no text"};
        result.metadata[name] = value.get<std::string>();
      }
      continue;
    }
    Tensor tensor;
    tensor.key = key;
    Result<Range> range = readEntry(path + ": tensor '" + key + "'", entry, dataSize, tensor);
    if (!range)
      return range.error();
    tensor.data = data + range->begin;
    tensor.bytes = range->end - range->begin;
    tensor.owner = file->owner;
    placed.push_back({*range, std::move(tensor)});
  }
  std::sort(placed.begin(), placed.end(), [](const Placed &a, const Placed &b) {
    return std::pair(a.range.begin, a.range.end) < std::pair(b.range.begin, b.range.end);
  });
  uint64_t end = 0;
  for (Placed &each : placed) {
    if (each.range.begin != end)
      return Error{path + ": tensor '" + each.tensor.key +
                   (each.range.begin < end ? "' overlaps the one before it" : "' leaves a hole before it")};
    end = each.range.end;
    if (each.tensor.key.rfind(padPrefix, 0) != 0)
      result.tensors.push_back(std::move(each.tensor));
  }
  if (end != dataSize)
    return Error{path + ": " + std::to_string(dataSize - end) +
                 " bytes behind the last tensor belong to none"};
  return result;
}

static Result<std::unique_ptr<AtomicFile>> prepare(const std::string &path,
                                                   const std::vector<Tensor> &tensors,
                                                   const std::map<std::string, std::string> &metadata,
                                                   bool mayBeMapped) {
  Json header = Json::object();
  if (!metadata.empty())
    header["__metadata__"] = metadata;
  uint64_t offset = 0;
  int64_t pads = 0;
  auto entry = [&](std::string_view dtype, const std::vector<int64_t> &shape, uint64_t bytes) {
    Json value = {{"dtype", dtype}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
    return value;
  };
  for (const Tensor &tensor : tensors) {
    std::optional<size_t> bytes = tensorBytes(tensor.dtype, tensor.shape);
    if (!bytes || *bytes != tensor.bytes || dtypeToSafetensors(tensor.dtype).empty())
      return Error{path + ": tensor '" + tensor.key + "' of " + dtypeName(tensor.dtype) +
                   " cannot be written: safetensors has no such type, or its size does not fit its shape"};
    if (header.contains(tensor.key) || tensor.key == "__metadata__" || tensor.key.rfind(padPrefix, 0) == 0)
      return Error{path + ": tensor '" + tensor.key + "' cannot be written: the name is taken"};
    header[tensor.key] = entry(dtypeToSafetensors(tensor.dtype), tensor.shape, tensor.bytes);
    if (size_t rest = tensor.bytes % alignment)
      header[padPrefix + std::to_string(pads++)] =
          entry("U8", {static_cast<int64_t>(alignment - rest)}, alignment - rest);
  }
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.resize((text.size() + 8 + alignment - 1) / alignment * alignment - 8, ' ');

  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path, mayBeMapped);
  if (!file)
    return file.error();
  uint64_t length = text.size();
  const char zeros[alignment] = {};
  Status status = (*file)->write(&length, 8);
  if (status)
    status = (*file)->write(text.data(), text.size());
  for (const Tensor &tensor : tensors) {
    if (status)
      status = (*file)->write(tensor.data, tensor.bytes);
    if (status && tensor.bytes % alignment)
      status = (*file)->write(zeros, alignment - tensor.bytes % alignment);
  }
  if (!status)
    return status.error();
  return file;
}

Result<std::unique_ptr<AtomicFile>> prepareSafetensors(const std::string &path,
                                                       const std::vector<Tensor> &tensors,
                                                       const std::map<std::string, std::string> &metadata) {
  return prepare(path, tensors, metadata, /*mayBeMapped=*/false);
}

Status writeSafetensors(const std::string &path, const std::vector<Tensor> &tensors,
                        const std::map<std::string, std::string> &metadata) {
  Result<std::unique_ptr<AtomicFile>> file = prepare(path, tensors, metadata, /*mayBeMapped=*/true);
  return file ? (*file)->commit() : Status(file.error());
}

} // namespace adapter::checkpoint
