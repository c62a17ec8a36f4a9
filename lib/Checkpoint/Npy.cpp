// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// .npy; see Npy.h and numpy.lib.format, which defines it.
#include "lib/Checkpoint/Npy.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include <algorithm>
#include <cstring>
#include <optional>

namespace adapter::checkpoint {

namespace {

constexpr std::string_view magic = "\x93NUMPY";

struct Code {
  const char *code; // without the byte order
  DType dtype;
};
constexpr Code codes[] = {{"f4", DType::F32}, {"f8", DType::F64},   {"f2", DType::F16}, {"i8", DType::I64},
                          {"i4", DType::I32}, {"i2", DType::I16},   {"i1", DType::I8},  {"u8", DType::U64},
                          {"u4", DType::U32}, {"u2", DType::U16},   {"u1", DType::U8},  {"b1", DType::Bool},
                          {"c8", DType::C64}, {"c16", DType::C128}, {"V2", DType::BF16}};

// The header is a Python dictionary of three entries in any order: a scanner for just that.
struct Header {
  std::string_view text;
  size_t at = 0;
  std::optional<std::string> descr;
  std::optional<bool> fortran;
  std::optional<std::vector<int64_t>> shape;

  void space() {
    while (at < text.size() && (text[at] == ' ' || text[at] == '\n' || text[at] == '\t'))
      ++at;
  }
  bool take(std::string_view token) {
    space();
    if (text.substr(at, token.size()) != token)
      return false;
    at += token.size();
    return true;
  }
  std::optional<std::string> quoted() {
    space();
    if (at >= text.size() || (text[at] != '\'' && text[at] != '"'))
      return std::nullopt;
    size_t end = text.find(text[at], at + 1);
    if (end == std::string_view::npos)
      return std::nullopt;
    std::string result(text.substr(at + 1, end - at - 1));
    at = end + 1;
    return result;
  }
  std::optional<int64_t> integer() {
    space();
    int64_t value = 0;
    size_t start = at;
    for (; at < text.size() && text[at] >= '0' && text[at] <= '9'; ++at)
      if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, text[at] - '0', &value))
        return std::nullopt;
    take("L"); // as Python 2 wrote it
    return at == start ? std::nullopt : std::optional(value);
  }
  bool tuple() {
    std::vector<int64_t> dims;
    if (!take("("))
      return false;
    while (!take(")")) {
      std::optional<int64_t> dim = integer();
      if (!dim || dims.size() == 32)
        return false;
      dims.push_back(*dim);
      if (!take(",") && !(take(")") && (--at, true)))
        return false;
    }
    shape = std::move(dims);
    return true;
  }
  bool parse() {
    if (!take("{"))
      return false;
    while (!take("}")) {
      std::optional<std::string> key = quoted();
      if (!key || !take(":"))
        return false;
      if (*key == "descr" && !descr) {
        if (!(descr = quoted()))
          return false;
      } else if (*key == "fortran_order" && !fortran) {
        if (take("True"))
          fortran = true;
        else if (take("False"))
          fortran = false;
        else
          return false;
      } else if (*key == "shape" && !shape) {
        if (!tuple())
          return false;
      } else {
        return false;
      }
      take(",");
    }
    space();
    return at == text.size() && descr && fortran && shape;
  }
};

void swapBytes(Tensor &tensor, size_t size) {
  std::byte *data = mutableData(tensor);
  for (size_t i = 0; i + size <= tensor.bytes; i += size)
    std::reverse(data + i, data + i + size);
}

// `from` has its first index fastest.
void copyFromFortran(const Tensor &from, Tensor &to) {
  size_t size = dtypeSize(from.dtype), rank = from.shape.size();
  std::vector<int64_t> index(rank, 0), stride(rank, 1);
  for (size_t i = 1; i < rank; ++i)
    stride[i] = stride[i - 1] * from.shape[i - 1];
  for (int64_t i = 0, n = from.elements(); i < n; ++i) {
    int64_t place = 0;
    for (size_t axis = 0; axis < rank; ++axis)
      place += index[axis] * stride[axis];
    std::memcpy(mutableData(to) + i * size, from.data + place * size, size);
    for (size_t axis = rank; axis-- > 0;) {
      if (++index[axis] < from.shape[axis])
        break;
      index[axis] = 0;
    }
  }
}

} // namespace

Result<Tensor> readNpy(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  return parseNpy(path, file->text(), file->owner);
}

Result<Tensor> parseNpy(const std::string &path, std::string_view text, std::shared_ptr<const void> owner) {
  if (text.size() < 10 || text.substr(0, magic.size()) != magic)
    return Error{path + ": no .npy file"};
  unsigned version = static_cast<unsigned char>(text[6]);
  if (version < 1 || version > 3 || text[7] != 0)
    return Error{path + ": .npy version " + std::to_string(version) + " is unknown; expected 1, 2 or 3"};
  size_t lengthBytes = version == 1 ? 2 : 4, length = 0;
  if (text.size() < 8 + lengthBytes)
    return Error{path + ": truncated .npy file"};
  std::memcpy(&length, text.data() + 8, lengthBytes);
  size_t start = 8 + lengthBytes + length;
  if (length > text.size() || start > text.size())
    return Error{path + ": truncated .npy file"};
  Header header;
  header.text = text.substr(8 + lengthBytes, length);
  if (!header.parse())
    return Error{path + ": its header is none of a plain array"};

  Tensor mapped;
  char order = header.descr->empty() ? 0 : header.descr->front();
  for (const Code &code : codes)
    if ((order == '<' || order == '>' || order == '|' || order == '=') &&
        header.descr->substr(1) == code.code)
      mapped.dtype = code.dtype;
  if (mapped.dtype == DType::Undefined)
    return Error{path + ": arrays of type '" + *header.descr +
                 "' cannot be used here; expected numbers or bool"};
  mapped.shape = *header.shape;
  mapped.key = path;
  std::optional<size_t> bytes = tensorBytes(mapped.dtype, mapped.shape);
  if (!bytes || *bytes != text.size() - start)
    return Error{path + ": shape " + shapeText(mapped.shape) + " of " + dtypeName(mapped.dtype) +
                 " does not fill the " + std::to_string(text.size() - start) + " bytes of data"};
  mapped.bytes = *bytes;
  mapped.data = reinterpret_cast<const std::byte *>(text.data()) + start;
  mapped.owner = std::move(owner);
  bool bigEndian = order == '>' && dtypeSize(mapped.dtype) > 1;
  if (!*header.fortran && !bigEndian && reinterpret_cast<uintptr_t>(mapped.data) % 64 == 0)
    return mapped;
  Tensor result = allocateTensor(mapped.dtype, mapped.shape);
  result.key = path;
  if (*header.fortran)
    copyFromFortran(mapped, result);
  else if (mapped.bytes)
    std::memcpy(mutableData(result), mapped.data, mapped.bytes);
  if (bigEndian) {
    bool isComplex = mapped.dtype == DType::C64 || mapped.dtype == DType::C128;
    swapBytes(result, dtypeSize(mapped.dtype) / (isComplex ? 2 : 1));
  }
  return result;
}

Result<std::string> npyHeader(const Tensor &tensor) {
  std::string descr;
  for (const Code &code : codes)
    if (code.dtype == tensor.dtype)
      descr = std::string(dtypeSize(tensor.dtype) == 1 || code.code[0] == 'V' ? "|" : "<") + code.code;
  if (descr.empty() && dtypeSize(tensor.dtype) == 1)
    descr = "|V1";
  if (descr.empty())
    return Error{"'" + tensor.key + "' is " + dtypeName(tensor.dtype) + ", which .npy cannot hold"};
  std::string shape;
  for (int64_t dim : tensor.shape)
    shape += std::to_string(dim) + ", ";
  if (tensor.shape.size() > 1)
    shape.resize(shape.size() - 2);
  else if (!shape.empty())
    shape.pop_back();
  std::string text = "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + shape + "), }";
  text.resize((10 + text.size() + 1 + 63) / 64 * 64 - 10 - 1, ' ');
  text += '\n';
  std::string result(magic);
  result += {'\1', '\0', static_cast<char>(text.size() & 0xff), static_cast<char>(text.size() >> 8)};
  return result + text;
}

Status writeNpy(const std::string &path, const Tensor &tensor) {
  Result<std::string> header = npyHeader(tensor);
  if (!header)
    return Error{path + ": " + header.error().message};
  Result<std::unique_ptr<AtomicFile>> file = AtomicFile::create(path);
  if (!file)
    return file.error();
  if (Status status = (*file)->write(header->data(), header->size()); !status)
    return status;
  if (Status status = (*file)->write(tensor.data, tensor.bytes); !status)
    return status;
  return (*file)->commit();
}

} // namespace adapter::checkpoint
