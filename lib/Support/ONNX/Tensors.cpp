// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Reading and writing of TensorProtos. No count or size of the file is believed before it is checked.
#include "lib/Support/ONNX/Tensors.h"
#include "lib/Checkpoint/File.h"
#include "lib/Support/ONNX/Types.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cstring>
#include <onnx/onnx_pb.h>

using namespace mlir;
using namespace adapter;
using namespace adapter::onnxproto;
using checkpoint::Done;
using checkpoint::DType;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

static unsigned bitsOf(DType dtype) {
  switch (dtype) {
  case DType::U2:
  case DType::I2:
    return 2;
  case DType::U4:
  case DType::I4:
  case DType::F4E2M1:
    return 4;
  case DType::F6E2M3:
  case DType::F6E3M2:
    return 6;
  case DType::U8:
  case DType::I8:
  case DType::Bool:
  case DType::F8E4M3FN:
  case DType::F8E4M3FNUZ:
  case DType::F8E5M2:
  case DType::F8E5M2FNUZ:
  case DType::F8E8M0:
    return 8;
  case DType::U16:
  case DType::I16:
  case DType::F16:
  case DType::BF16:
    return 16;
  case DType::F32:
  case DType::I32:
  case DType::U32:
    return 32;
  case DType::F64:
  case DType::I64:
  case DType::U64:
  case DType::C64:
    return 64;
  case DType::C128:
    return 128;
  case DType::String:
  case DType::Undefined:
    return 0;
  }
  return 0;
}

static std::optional<int64_t> elementsOf(ArrayRef<int64_t> shape) {
  // The product of all dimensions but the zeros must fit too: consumers multiply them in any order.
  int64_t product = 1;
  bool empty = false;
  for (int64_t dim : shape) {
    if (dim < 0)
      return std::nullopt;
    empty |= dim == 0;
    if (dim && __builtin_mul_overflow(product, dim, &product))
      return std::nullopt;
  }
  return empty ? 0 : product;
}

std::optional<size_t> onnxproto::packedBytes(DType dtype, ArrayRef<int64_t> shape) {
  std::optional<int64_t> elements = elementsOf(shape);
  int64_t bits = bitsOf(dtype), total = 0;
  if (!elements || !bits || __builtin_mul_overflow(*elements, bits, &total))
    return std::nullopt;
  return total / 8 + (total % 8 != 0);
}

static std::string shapeText(ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t dim : shape)
    text += (text.empty() ? "" : "x") + std::to_string(dim);
  return "[" + text + "]";
}

// Owned memory for converted contents.
static char *allocate(Tensor &tensor, size_t bytes) {
  std::shared_ptr<char[]> memory(new char[bytes ? bytes : 1]());
  tensor.data = reinterpret_cast<const std::byte *>(memory.get());
  tensor.bytes = bytes;
  char *data = memory.get();
  tensor.owner = std::shared_ptr<const void>(memory, data);
  return data;
}

Result<Tensor> TensorReader::read(const ::onnx::TensorProto &proto) {
  Tensor tensor;
  tensor.key = proto.name();
  tensor.dtype = static_cast<DType>(proto.data_type());
  tensor.shape.assign(proto.dims().begin(), proto.dims().end());
  if (!elementsOf(tensor.shape))
    return Error{"its shape " + shapeText(tensor.shape) + " is negative or has a product beyond 64 bits"};
  if (proto.has_segment())
    return Error{"it is a segment of a tensor, which ONNX does not define; store it whole"};
  if (tensor.dtype == DType::String) {
    if (proto.string_data_size() != elementsOf(tensor.shape))
      return Error{"it has " + std::to_string(proto.string_data_size()) + " strings, but its shape is " +
                   shapeText(tensor.shape)};
    return tensor;
  }
  if (!bitsOf(tensor.dtype))
    return Error{"its element type " + std::to_string(proto.data_type()) +
                 " is none that ONNX defines; is the file damaged or newer than this program?"};
  std::optional<size_t> bytes = packedBytes(tensor.dtype, tensor.shape);
  if (!bytes)
    return Error{"its shape " + shapeText(tensor.shape) + " takes more bytes than 64 bits can count"};
  Status status = Done{};
  if (proto.data_location() == ::onnx::TensorProto::EXTERNAL) {
    status = readExternal(proto, *bytes, tensor);
  } else if (!proto.raw_data().empty()) {
    if (proto.raw_data().size() != *bytes)
      status = Error{"it has " + std::to_string(proto.raw_data().size()) + " bytes, but its shape " +
                     shapeText(tensor.shape) + " takes " + std::to_string(*bytes)};
    tensor.data = reinterpret_cast<const std::byte *>(proto.raw_data().data());
    tensor.bytes = *bytes;
    tensor.owner = owner;
  } else {
    status = readTyped(proto, *bytes, tensor);
  }
  if (!status)
    return status.error();
  return tensor;
}

// Copies a list of a TensorProto, `From` as protobuf holds it and `To` as raw_data would.
template <typename To, typename List>
static Status copyList(const List &list, size_t bytes, Tensor &tensor) {
  if (static_cast<size_t>(list.size()) != bytes / sizeof(To) || bytes % sizeof(To))
    return Error{"it has " + std::to_string(list.size()) + " values, but its shape " +
                 shapeText(tensor.shape) + " takes " + std::to_string(bytes / sizeof(To))};
  char *out = allocate(tensor, bytes);
  for (int i = 0; i < list.size(); ++i) {
    To value = static_cast<To>(list[i]);
    std::memcpy(out + i * sizeof(To), &value, sizeof(To));
  }
  return Done{};
}

Status TensorReader::readTyped(const ::onnx::TensorProto &proto, size_t bytes, Tensor &tensor) {
  switch (tensor.dtype) {
  case DType::F32:
  case DType::C64:
    return copyList<float>(proto.float_data(), bytes, tensor);
  case DType::F64:
  case DType::C128:
    return copyList<double>(proto.double_data(), bytes, tensor);
  case DType::I64:
    return copyList<int64_t>(proto.int64_data(), bytes, tensor);
  case DType::U64:
    return copyList<uint64_t>(proto.uint64_data(), bytes, tensor);
  case DType::U32:
    return copyList<uint32_t>(proto.uint64_data(), bytes, tensor);
  case DType::I32:
    return copyList<int32_t>(proto.int32_data(), bytes, tensor);
  case DType::U16:
  case DType::I16:
  case DType::F16:
  case DType::BF16:
    return copyList<uint16_t>(proto.int32_data(), bytes, tensor);
  case DType::F6E2M3:
  case DType::F6E3M2: {
    // The list has one entry for each element; raw_data is a stream of 6-bit groups.
    std::optional<int64_t> elements = elementsOf(tensor.shape);
    if (proto.int32_data_size() != *elements)
      return Error{"it has " + std::to_string(proto.int32_data_size()) + " values, but its shape is " +
                   shapeText(tensor.shape)};
    char *out = allocate(tensor, bytes);
    for (int64_t i = 0; i < *elements; ++i) {
      unsigned value = proto.int32_data(i) & 63, bit = 6 * i % 8;
      out[6 * i / 8] |= static_cast<char>(value << bit);
      if (bit > 2)
        out[6 * i / 8 + 1] |= static_cast<char>(value >> (8 - bit));
    }
    return Done{};
  }
  default:
    return copyList<uint8_t>(proto.int32_data(), bytes, tensor);
  }
}

Status TensorReader::readExternal(const ::onnx::TensorProto &proto, size_t bytes, Tensor &tensor) {
  std::string location;
  uint64_t offset = 0;
  std::optional<uint64_t> length;
  for (const auto &entry : proto.external_data()) {
    StringRef key = entry.key(), value = entry.value();
    uint64_t number = 0;
    if (key == "location") {
      location = value.str();
    } else if (key == "offset" || key == "length") {
      if (value.getAsInteger(10, number))
        return Error{"its external_data has " + key.str() + " '" + value.str() + "', which is no number"};
      key == "offset" ? void(offset = number) : void(length = number);
    }
  }
  if (location.empty())
    return Error{"its external_data names no location"};
  if (folder.empty())
    return Error{"its contents lie in '" + location + "', but the model comes from no file; give its path"};
  if (length && *length != bytes)
    return Error{"its external_data has length " + std::to_string(*length) + ", but its shape " +
                 shapeText(tensor.shape) + " takes " + std::to_string(bytes)};
  auto found = files.find(location);
  if (found == files.end()) {
    // Judged by where the path really leads, so that neither '..' nor a link leaves the folder. A model hub's cache is
    // made of links: the model's own leads into the folder in which its data must lie then.
    llvm::SmallString<256> path(folder), real;
    bool inside = !llvm::sys::path::is_absolute(location) && location.find('\0') == std::string::npos;
    for (auto part = llvm::sys::path::begin(location); part != llvm::sys::path::end(location); ++part)
      inside &= *part != "..";
    llvm::sys::path::append(path, location);
    std::error_code missing = inside ? llvm::sys::fs::real_path(path, real) : std::error_code();
    auto isIn = [&](StringRef place) {
      llvm::SmallString<256> realPlace;
      return !place.empty() && !llvm::sys::fs::real_path(place, realPlace) &&
             StringRef(real).starts_with((realPlace == "/" ? "" : realPlace.str().str()) + "/");
    };
    if (!missing && inside)
      inside = isIn(folder) || isIn(linkedFolder);
    if (!inside)
      return Error{"its contents lie at '" + location +
                   "', which is outside the model's folder; move the file there"};
    Result<checkpoint::MappedFile> mapped =
        missing ? Error{missing.message()} : checkpoint::mapFile(real.str().str());
    if (!mapped)
      return Error{"its contents lie in '" + location +
                   "' beside the model, which cannot be read: " + mapped.error().message};
    found = files.insert({location, File{mapped->data, mapped->size, mapped->owner}}).first;
  }
  const File &file = found->second;
  if (offset > file.size || bytes > file.size - offset)
    return Error{"its contents lie at bytes " + std::to_string(offset) + " to " + std::to_string(offset) +
                 " + " + std::to_string(bytes) + " of '" + location + "', which has " +
                 std::to_string(file.size) + "; is that file truncated?"};
  sawExternal = true;
  tensor.data = file.data + offset;
  tensor.bytes = bytes;
  tensor.owner = file.owner;
  return Done{};
}

std::string TensorReader::claimKey(StringRef wanted) {
  std::string key = wanted.str();
  while (key.empty() || !keys.insert(key).second)
    key = wanted.str() + "." + std::to_string(++suffixes[wanted]);
  return key;
}
