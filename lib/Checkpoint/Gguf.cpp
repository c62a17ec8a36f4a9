// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GGUF; see Gguf.h.
#include "lib/Checkpoint/Gguf.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <cstring>

namespace adapter::checkpoint {

namespace {

constexpr uint32_t textType = 8, listType = 9;
constexpr uint32_t quantised8 = 8;                  // q8_0: blocks of one f16 scale and 32 int8
constexpr size_t blockValues = 32, blockBytes = 34; // of q8_0

// Bytes of a value's type; 0 for texts, lists and types that do not exist.
size_t valueSize(uint32_t type) {
  constexpr size_t sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < std::size(sizes) ? sizes[type] : 0;
}

DType dtypeOf(uint32_t type) {
  switch (type) {
  case 0:
    return DType::F32;
  case 1:
    return DType::F16;
  case 28:
    return DType::F64;
  case 30:
    return DType::BF16;
  default:
    return DType::Undefined;
  }
}

struct Placed {
  Tensor tensor;
  uint32_t type;
  uint64_t offset; // from the start of the data
};

Tensor widen(const Tensor &blocks) {
  Tensor result = allocateTensor(DType::F32, blocks.shape);
  result.key = blocks.key;
  auto *out = reinterpret_cast<float *>(mutableData(result));
  for (size_t block = 0; block < blocks.bytes / blockBytes; ++block) {
    const std::byte *start = blocks.data + block * blockBytes;
    uint16_t bits;
    std::memcpy(&bits, start, sizeof bits);
    float scale = f16ToF32(bits);
    for (size_t i = 0; i < blockValues; ++i)
      out[block * blockValues + i] = scale * static_cast<float>(static_cast<int8_t>(start[2 + i]));
  }
  return result;
}

class GgufReader {
public:
  GgufReader(std::string path, MappedFile file) : path(std::move(path)), file(std::move(file)) {}
  Result<Gguf> run();

private:
  Error wrong(const std::string &problem) const { return Error{path + ": " + problem}; }
  Error truncated() const {
    return wrong("ends within its header, at byte " + std::to_string(position) + " (truncated file?)");
  }
  uint64_t left() const { return file.size - position; }

  template <typename T>
  bool read(T &value) {
    if (left() < sizeof value)
      return false;
    std::memcpy(&value, file.data + position, sizeof value);
    position += sizeof value;
    return true;
  }
  bool readText(std::string &text) {
    uint64_t size = 0;
    if (!read(size) || left() < size)
      return false;
    text.assign(file.text().substr(position, size));
    position += size;
    return true;
  }
  template <typename T>
  bool readNumber(GgufValue &value) {
    T number;
    if (!read(number))
      return false;
    value = static_cast<double>(number);
    return true;
  }
  Status skipList(const std::string &key, GgufValue &value);
  Status readValue(const std::string &key, uint32_t type, GgufValue &value);
  Status readField();
  Result<Placed> readInfo();
  Status placeTensors(std::vector<Placed> placed);

  std::string path;
  MappedFile file;
  uint64_t position = 0;
  Gguf result;
};

} // namespace

Status GgufReader::skipList(const std::string &key, GgufValue &value) {
  uint32_t type = 0;
  uint64_t count = 0;
  if (!read(type) || !read(count))
    return truncated();
  value = GgufList{count};
  if (size_t size = valueSize(type)) {
    if (count > left() / size)
      return truncated();
    position += count * size;
    return Done{};
  }
  if (type != textType)
    return wrong("field '" + key + "' is a list of values of type " + std::to_string(type) +
                 ", which is not known here");
  std::string text;
  for (uint64_t i = 0; i < count; ++i)
    if (!readText(text))
      return truncated();
  return Done{};
}

Status GgufReader::readValue(const std::string &key, uint32_t type, GgufValue &value) {
  using Read = bool (GgufReader::*)(GgufValue &);
  static constexpr Read numbers[] = {&GgufReader::readNumber<uint8_t>,
                                     &GgufReader::readNumber<int8_t>,
                                     &GgufReader::readNumber<uint16_t>,
                                     &GgufReader::readNumber<int16_t>,
                                     &GgufReader::readNumber<uint32_t>,
                                     &GgufReader::readNumber<int32_t>,
                                     &GgufReader::readNumber<float>,
                                     &GgufReader::readNumber<uint8_t>, // bool
                                     nullptr,
                                     nullptr,
                                     &GgufReader::readNumber<uint64_t>,
                                     &GgufReader::readNumber<int64_t>,
                                     &GgufReader::readNumber<double>};
  if (type == listType)
    return skipList(key, value);
  if (type == textType) {
    std::string text;
    if (!readText(text))
      return truncated();
    value = std::move(text);
    return Done{};
  }
  if (type >= std::size(numbers))
    return wrong("field '" + key + "' has type " + std::to_string(type) + ", which is not known here");
  return (this->*numbers[type])(value) ? Status(Done{}) : truncated();
}

Status GgufReader::readField() {
  std::string key;
  uint32_t type = 0;
  if (!readText(key) || !read(type))
    return truncated();
  GgufValue value;
  if (Status status = readValue(key, type, value); !status)
    return status;
  if (!result.fields.emplace(key, std::move(value)).second)
    return wrong("field '" + key + "' stands there twice");
  return Done{};
}

Result<Placed> GgufReader::readInfo() {
  Placed placed{};
  uint32_t dims = 0;
  Tensor &tensor = placed.tensor;
  if (!readText(tensor.key) || !read(dims))
    return truncated();
  std::string where = "tensor '" + tensor.key + "' ";
  if (dims < 1 || dims > 4)
    return wrong(where + "has " + std::to_string(dims) + " dimensions; expected 1 to 4");
  for (uint32_t i = 0; i < dims; ++i) {
    uint64_t dim = 0;
    if (!read(dim))
      return truncated();
    if (dim < 1 || dim > static_cast<uint64_t>(INT64_MAX))
      return wrong(where + "has a dimension of " + std::to_string(dim));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dim));
  }
  if (!read(placed.type) || !read(placed.offset))
    return truncated();
  tensor.dtype = placed.type == quantised8 ? DType::I8 : dtypeOf(placed.type);
  if (tensor.dtype == DType::Undefined)
    return wrong(where + "has GGML's type " + std::to_string(placed.type) +
                 "; f32, f16, bf16 and q8_0 can be read (convert_lora_to_gguf.py --outtype f16)");
  std::optional<size_t> bytes = tensorBytes(tensor.dtype, tensor.shape);
  if (bytes && placed.type == quantised8) {
    if (tensor.shape.back() % static_cast<int64_t>(blockValues))
      return wrong(where +
                   "is q8_0, but its rows are of no whole number of blocks: " + shapeText(tensor.shape));
    if (*bytes > file.size)
      bytes = std::nullopt;
    else
      bytes = *bytes / blockValues * blockBytes;
  }
  if (!bytes || *bytes > file.size)
    return wrong(where + "of shape " + shapeText(tensor.shape) + " is larger than the file");
  tensor.bytes = *bytes;
  return placed;
}

// Where the tensors lie: within the file, aligned, none over another.
Status GgufReader::placeTensors(std::vector<Placed> placed) {
  uint64_t alignment = 32;
  if (result.fields.count("general.alignment")) {
    const double *value = result.number("general.alignment");
    if (!value || !(*value >= 1 && *value <= (1 << 20)) ||
        *value != static_cast<double>(static_cast<uint64_t>(*value)))
      return wrong("field 'general.alignment' is not a size that can be");
    alignment = static_cast<uint64_t>(*value);
  }
  uint64_t start = (position + alignment - 1) / alignment * alignment;
  if (start > file.size)
    return placed.empty() ? Status(Done{}) : truncated();
  uint64_t size = file.size - start;
  std::vector<const Placed *> order;
  for (const Placed &each : placed) {
    if (each.offset % alignment || each.offset > size || each.tensor.bytes > size - each.offset)
      return wrong("tensor '" + each.tensor.key + "' lies at offset " + std::to_string(each.offset) + " of " +
                   std::to_string(size) +
                   " bytes of data: outside of them, or not aligned (truncated file?)");
    order.push_back(&each);
  }
  std::sort(order.begin(), order.end(),
            [](const Placed *a, const Placed *b) { return a->offset < b->offset; });
  for (size_t i = 1; i < order.size(); ++i)
    if (order[i]->offset < order[i - 1]->offset + order[i - 1]->tensor.bytes)
      return wrong("tensor '" + order[i]->tensor.key + "' overlaps '" + order[i - 1]->tensor.key + "'");
  for (Placed &each : placed) {
    Tensor &tensor = each.tensor;
    tensor.data = file.data + start + each.offset;
    tensor.owner = file.owner;
    result.tensors.push_back(each.type == quantised8 ? widen(tensor) : tensor);
  }
  return Done{};
}

Result<Gguf> GgufReader::run() {
  uint32_t magic = 0, version = 0;
  uint64_t tensors = 0, fields = 0;
  if (!read(magic) || !read(version) || !read(tensors) || !read(fields))
    return truncated();
  if (version != 2 && version != 3)
    return wrong("is GGUF of version " + std::to_string(version) +
                 ", or of a big-endian machine; versions 2 and 3, little-endian, can be read");
  // As many as there is room for: a field is 13 bytes at least, a tensor 32.
  if (fields > left() / 13 || tensors > left() / 32)
    return wrong("claims " + std::to_string(fields) + " fields and " + std::to_string(tensors) +
                 " tensors, more than it has room for (truncated file?)");
  for (uint64_t i = 0; i < fields; ++i)
    if (Status status = readField(); !status)
      return status.error();
  std::vector<Placed> placed;
  std::map<std::string, int> names;
  for (uint64_t i = 0; i < tensors; ++i) {
    Result<Placed> info = readInfo();
    if (!info)
      return info.error();
    if (names[info->tensor.key]++)
      return wrong("tensor '" + info->tensor.key + "' is there twice");
    placed.push_back(std::move(*info));
  }
  if (Status status = placeTensors(std::move(placed)); !status)
    return status.error();
  return std::move(result);
}

const std::string *Gguf::text(const std::string &field) const {
  auto found = fields.find(field);
  return found == fields.end() ? nullptr : std::get_if<std::string>(&found->second);
}

const double *Gguf::number(const std::string &field) const {
  auto found = fields.find(field);
  return found == fields.end() ? nullptr : std::get_if<double>(&found->second);
}

bool isGguf(std::string_view bytes) { return startsWith(bytes, "GGUF"); }

Result<Gguf> readGguf(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  if (!isGguf(file->text()))
    return Error{path + ": not a GGUF file"};
  return GgufReader(path, std::move(*file)).run();
}

} // namespace adapter::checkpoint
