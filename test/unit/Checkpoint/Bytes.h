// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makes GGUF and .onnx_adapter files for tests, after the formats' definitions.
#ifndef ADAPTER_TEST_UNIT_CHECKPOINT_BYTES_H
#define ADAPTER_TEST_UNIT_CHECKPOINT_BYTES_H

#include "lib/Checkpoint/Tensor.h"
#include <cstring>
#include <string>
#include <vector>

namespace adapter::test {

template <typename T>
std::string little(T value) {
  return std::string(reinterpret_cast<const char *>(&value), sizeof value);
}

inline std::string bytesOf(const checkpoint::Tensor &tensor) {
  return std::string(reinterpret_cast<const char *>(tensor.data), tensor.bytes);
}

// A GGUF file of version 3. Shapes are PyTorch's; the file has them in reverse.
class GgufFile {
public:
  GgufFile &text(const std::string &key, const std::string &value) {
    return field(key, 8, little<uint64_t>(value.size()) + value);
  }
  GgufFile &number(const std::string &key, uint32_t value) { return field(key, 4, little(value)); }
  GgufFile &number(const std::string &key, float value) { return field(key, 6, little(value)); }
  GgufFile &field(const std::string &key, uint32_t type, const std::string &value) {
    fields += little<uint64_t>(key.size()) + key + little(type) + value;
    ++fieldCount;
    return *this;
  }
  GgufFile &tensor(const std::string &name, const std::vector<int64_t> &shape, uint32_t type,
                   const std::string &bytes) {
    return tensor(name, shape, type, bytes, data.size());
  }
  GgufFile &tensor(const std::string &name, const std::vector<int64_t> &shape, uint32_t type,
                   const std::string &bytes, uint64_t offset) {
    infos += little<uint64_t>(name.size()) + name + little(static_cast<uint32_t>(shape.size()));
    for (size_t i = shape.size(); i-- > 0;)
      infos += little<int64_t>(shape[i]);
    infos += little(type) + little(offset);
    data += bytes;
    data.resize((data.size() + 31) / 32 * 32);
    ++tensorCount;
    return *this;
  }
  std::string bytes() const {
    std::string result =
        "GGUF" + little<uint32_t>(3) + little(tensorCount) + little(fieldCount) + fields + infos;
    result.resize((result.size() + 31) / 32 * 32);
    return result + data;
  }

private:
  std::string fields, infos, data;
  uint64_t fieldCount = 0, tensorCount = 0;
};

// FlatBuffers as ONNX Runtime writes its adapters: tables behind their layouts, what they point to behind them.
class OnnxAdapterFile {
public:
  OnnxAdapterFile &parameter(const checkpoint::Tensor &tensor) {
    parameters.push_back(tensor);
    return *this;
  }
  std::string bytes(int32_t version = 1) const {
    // Layout of the root: 12 bytes, then the table: back, version, adapter, model, parameters.
    std::string out = little<uint32_t>(20) + "TORT";
    for (uint16_t each : {12, 20, 4, 8, 12, 16})
      out += little(each);
    out +=
        little<int32_t>(12) + little(version) + little<int32_t>(1) + little<int32_t>(1) + little<uint32_t>(4);
    size_t vector = out.size();
    out += little(static_cast<uint32_t>(parameters.size())) + std::string(4 * parameters.size(), '\0');
    for (size_t i = 0; i < parameters.size(); ++i)
      addParameter(out, parameters[i], vector + 4 + 4 * i);
    return out;
  }

private:
  static void point(std::string &out, size_t from) {
    uint32_t offset = static_cast<uint32_t>(out.size() - from);
    std::memcpy(&out[from], &offset, 4);
  }
  static void addParameter(std::string &out, const checkpoint::Tensor &tensor, size_t from) {
    for (uint16_t each : {12, 20, 4, 8, 12, 16})
      out += little(each);
    point(out, from);
    size_t table = out.size();
    out += little<int32_t>(12) + std::string(8, '\0') + little(static_cast<int32_t>(tensor.dtype)) +
           std::string(4, '\0');
    point(out, table + 4);
    out += little(static_cast<uint32_t>(tensor.key.size())) + tensor.key + std::string(1, '\0');
    point(out, table + 8);
    out += little(static_cast<uint32_t>(tensor.shape.size()));
    for (int64_t dim : tensor.shape)
      out += little(dim);
    point(out, table + 16);
    out += little(static_cast<uint32_t>(tensor.bytes)) + bytesOf(tensor);
  }

  std::vector<checkpoint::Tensor> parameters;
};

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_CHECKPOINT_BYTES_H
