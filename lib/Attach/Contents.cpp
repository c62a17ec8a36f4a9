// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Matrices are compared output by output, in either orientation, so that a fused weight is found as the
// matrices that it consists of. A bias is the vector beside a matrix that was found; other vectors must be
// the only ones with their contents.
#include "lib/Attach/Contents.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Support/ParameterStore.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include <cstring>

using namespace mlir;
using namespace adapter;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Safetensors;
using checkpoint::Tensor;

Result<std::vector<Safetensors>> ContentIndex::read(const std::string &path) {
  std::vector<std::string> files{path};
  if (llvm::sys::fs::is_directory(path)) {
    files.clear();
    std::error_code code;
    for (llvm::sys::fs::directory_iterator it(path, code), end; it != end && !code; it.increment(code))
      if (llvm::sys::path::extension(it->path()) == ".safetensors")
        files.push_back(it->path());
    if (code || files.empty())
      return Error{"--base " + path + ": the folder holds no .safetensors file"};
    llvm::sort(files);
  }
  std::vector<Safetensors> result;
  for (const std::string &file : files) {
    Result<Safetensors> read = checkpoint::readSafetensors(file);
    if (!read)
      return Error{"--base " + path + ": " + read.error().message};
    result.push_back(std::move(*read));
  }
  return result;
}

// Element (row, column) of a matrix in the orientation [out, in].
static float at(const Tensor &matrix, bool transposed, int64_t row, int64_t column) {
  int64_t width = matrix.shape[1];
  return reinterpret_cast<const float *>(
      matrix.data)[transposed ? column * width + row : row * width + column];
}

static std::string hashRow(const Tensor &matrix, bool transposed, int64_t row) {
  std::vector<float> values(matrix.shape[transposed ? 0 : 1]);
  for (size_t i = 0; i < values.size(); ++i)
    values[i] = at(matrix, transposed, row, i);
  return checkpoint::hashBytes(values.data(), values.size() * sizeof(float));
}

static std::optional<Tensor> contentsOf(const ModuleParameter &parameter) {
  ParameterOp value = parameter.value;
  const Tensor *tensor =
      value ? ParameterStore::get(value.getContext()).lookup(value.getScope(), value.getKey()) : nullptr;
  if (!tensor || !checkpoint::isFloat(tensor->dtype))
    return std::nullopt;
  Result<Tensor> wide = checkpoint::toF32(*tensor);
  return wide ? std::optional<Tensor>(std::move(*wide)) : std::nullopt;
}

ContentIndex::ContentIndex(const std::vector<Safetensors> &files, const ModuleTable &table) : table(table) {
  for (const Safetensors &file : files)
    for (const Tensor &tensor : file.tensors) {
      if (!checkpoint::isFloat(tensor.dtype) || tensor.elements() == 0)
        continue;
      Result<Tensor> wide = checkpoint::toF32(tensor);
      if (!wide)
        continue;
      if (wide->shape.size() == 2)
        for (bool transposed : {false, true})
          rows[hashRow(*wide, transposed, 0)].push_back({tensor.key, transposed});
      base.emplace(tensor.key, std::move(*wide));
    }
  table.forEach([&](ModuleParameter &parameter) {
    if (parameter.kind == SiteKind::Linear || parameter.kind == SiteKind::Embedding)
      readMatrix(parameter);
  });
  readBiases();
  table.forEach([&](ModuleParameter &parameter) {
    if (parameter.kind == SiteKind::Vector || parameter.kind == SiteKind::Convolution)
      readVector(parameter);
  });
}

void ContentIndex::readMatrix(ModuleParameter &parameter) {
  std::optional<Tensor> contents = contentsOf(parameter);
  if (!contents || contents->shape.size() != 2)
    return;
  int64_t outputs = parameter.shape[0], inputs = parameter.shape[1];
  for (int64_t begin = 0; begin < outputs;) {
    int64_t size = 0;
    auto candidates = rows.find(hashRow(*contents, parameter.transposed, begin));
    if (candidates != rows.end())
      for (const auto &[key, transposed] : candidates->second) {
        const Tensor &matrix = base.at(key);
        int64_t own = matrix.shape[transposed ? 1 : 0];
        bool equal = begin + own <= outputs && matrix.shape[transposed ? 0 : 1] == inputs;
        for (int64_t row = 1; equal && row < own; ++row)
          for (int64_t column = 0; equal && column < inputs; ++column)
            equal = at(*contents, parameter.transposed, begin + row, column) ==
                    at(matrix, transposed, row, column);
        if (!equal)
          continue;
        found[key].push_back({&parameter, begin, own});
        size = own;
      }
    if (size == 0)
      return; // what follows may be anything
    begin += size;
  }
}

// The biases of the modules in each matrix, one behind the other, in an operand beside it.
void ContentIndex::readBiases() {
  std::map<ModuleParameter *, std::map<int64_t, std::string>> wholes;
  for (const auto &[key, parts] : found)
    for (const FusedPart &part : parts)
      wholes[part.parameter][part.offset] = key;
  for (const auto &[weightKey, parts] : wholes) {
    const ModuleParameter *weight = weightKey;
    std::vector<float> expected;
    std::vector<std::pair<std::string, int64_t>> biases;
    for (const auto &[offset, key] : parts) {
      std::string name = key.substr(0, key.rfind('.')) + ".bias";
      auto bias = base.find(name);
      if (bias == base.end())
        break;
      const float *values = reinterpret_cast<const float *>(bias->second.data);
      expected.resize(offset); // parts that are tied stand at one offset
      biases.push_back({name, offset});
      expected.insert(expected.end(), values, values + bias->second.elements());
    }
    if (static_cast<int64_t>(expected.size()) != weight->shape[0])
      continue;
    auto isBeside = [weight](const ModuleParameter &vector) {
      return llvm::any_of(vector.uses, [&](const ParameterUse &use) {
        Operation *reader = onnxir::NodeOp(use.node);
        return llvm::any_of(weight->uses, [&](const ParameterUse &own) {
          Operation *product = onnxir::NodeOp(own.node);
          return product == reader || llvm::is_contained(product->getUsers(), reader);
        });
      });
    };
    table.forEach([&](ModuleParameter &vector) {
      if (vector.kind != SiteKind::Vector || vector.shape[0] != weight->shape[0] || !isBeside(vector))
        return;
      std::optional<Tensor> contents = contentsOf(vector);
      if (!contents || std::memcmp(contents->data, expected.data(), expected.size() * sizeof(float)) != 0)
        return;
      for (const auto &[name, offset] : biases)
        found[name].push_back({&vector, offset, base.at(name).elements()});
    });
  }
}

void ContentIndex::readVector(ModuleParameter &parameter) {
  std::optional<Tensor> contents = contentsOf(parameter);
  if (!contents)
    return;
  std::string match;
  for (const auto &[key, tensor] : base)
    if (tensor.bytes == contents->bytes && std::memcmp(tensor.data, contents->data, tensor.bytes) == 0) {
      if (!match.empty())
        return; // a fresh norm looks like every other
      match = key;
    }
  if (!match.empty() && found[match].empty())
    found[match].push_back({&parameter, 0, parameter.shape[0]});
}

std::vector<FusedPart> ContentIndex::find(const std::string &module, const std::string &parameter) const {
  for (const auto &[key, parts] : found) {
    auto [path, name] = StringRef(key).rsplit('.');
    if (name == parameter && checkpoint::pathsMatch(path.str(), module))
      return parts;
  }
  return {};
}
