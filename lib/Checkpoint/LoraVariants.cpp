// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See LoraVariants.h. Follows peft/tuners/lora/variants.py and layer.py of PEFT 0.21.
#include "lib/Checkpoint/LoraVariants.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cstring>

namespace adapter::checkpoint {

Result<Tensor> blockDiagonal(const Tensor &tensor, int64_t n) {
  if (tensor.shape.size() != 2 || n < 1 || tensor.shape[0] % n)
    return Error{"'" + tensor.key + "' has shape " + shapeText(tensor.shape) + ", which is not " +
                 std::to_string(n) + " blocks of rows"};
  int64_t rows = tensor.shape[0], k = tensor.shape[1];
  Tensor full = allocateTensor(tensor.dtype, {rows, n * k});
  full.key = tensor.key;
  std::memset(mutableData(full), 0, full.bytes);
  size_t rowBytes = tensor.bytes / static_cast<size_t>(rows);
  for (int64_t i = 0; i < rows; ++i)
    std::memcpy(mutableData(full) + static_cast<size_t>(i * n + i / (rows / n)) * rowBytes,
                tensor.data + static_cast<size_t>(i) * rowBytes, rowBytes);
  return full;
}

// Each column `group` times, for the mean of as many inputs times the number of means.
static Result<Tensor> repeatColumns(const Tensor &tensor, int64_t group) {
  Result<Tensor> values = toF32(tensor);
  if (!values || tensor.shape.size() != 2)
    return values ? Error{"'" + tensor.key + "' has shape " + shapeText(tensor.shape) +
                          "; expected [rank, groups]"}
                  : values.error();
  int64_t rows = tensor.shape[0], columns = tensor.shape[1];
  Tensor full = allocateTensor(DType::F32, {rows, columns * group});
  full.key = tensor.key;
  const auto *from = reinterpret_cast<const float *>(values->data);
  auto *to = reinterpret_cast<float *>(mutableData(full));
  double factor = static_cast<double>(columns) / static_cast<double>(group);
  for (int64_t i = 0; i < rows * columns * group; ++i)
    to[i] = static_cast<float>(from[i / group] * factor);
  return full;
}

Status expandFactors(const PeftConfig &config, const std::string &path, Tensor &a, Tensor &b) {
  Result<bool> pools = config.boolean("use_qalora");
  if (!pools)
    return pools.error();
  if (*pools) {
    Result<int64_t> group = config.count("qalora_group_size", 16);
    Result<Tensor> full = group ? repeatColumns(a, *group) : Result<Tensor>(group.error());
    if (!full)
      return full.error();
    a = std::move(*full);
  }
  if (!config.isSet("use_bdlora"))
    return Done{};
  if (!config.fields()["use_bdlora"].is_object())
    return config.error("use_bdlora", "is not an object");
  PeftConfig blocks = config.part("use_bdlora");
  Result<int64_t> count = blocks.count("nblocks", 1);
  if (!count)
    return count.error();
  const std::string last = path.substr(path.rfind('.') + 1);
  bool any = false;
  for (auto [field, factor] : {std::pair("target_modules_bd_a", &a), {"target_modules_bd_b", &b}}) {
    Result<std::vector<std::string>> names = blocks.names(field);
    if (!names)
      return names.error();
    bool isNamed = std::any_of(names->begin(), names->end(),
                               [&](const std::string &name) { return last.find(name) != std::string::npos; });
    if (!isNamed)
      continue;
    if (any)
      return config.error("use_bdlora", "names '" + path + "' for both of its factors");
    any = true;
    Result<Tensor> full = blockDiagonal(*factor, *count);
    if (!full)
      return full.error();
    *factor = std::move(*full);
  }
  Result<bool> isStrict =
      blocks.fields().contains("match_strict") ? blocks.boolean("match_strict") : Result<bool>(true);
  if (!isStrict)
    return isStrict.error();
  return any || !*isStrict ? Status(Done{})
                           : config.error("use_bdlora", "names '" + path + "' for neither of its factors");
}

std::string initialization(const PeftConfig &config) {
  auto it = config.fields().find("init_lora_weights");
  std::string init = it != config.fields().end() && it->is_string() ? it->get<std::string>() : "";
  std::transform(init.begin(), init.end(), init.begin(), [](unsigned char c) { return std::tolower(c); });
  return init == "true" || init == "false" ? "" : init;
}

Result<Tensor> scaledColumns(const Tensor &b, const Tensor &diagonal) {
  Result<Tensor> values = toF32(b), factors = toF32(diagonal);
  if (!values || !factors)
    return values ? factors.error() : values.error();
  if (b.shape.size() != 2 || diagonal.shape != std::vector<int64_t>{b.shape[1]})
    return Error{"'" + diagonal.key + "' has shape " + shapeText(diagonal.shape) +
                 ", which does not fit the shape " + shapeText(b.shape) + " of '" + b.key + "'"};
  Tensor product = allocateTensor(DType::F32, b.shape);
  product.key = b.key;
  for (int64_t i = 0; i < b.elements(); ++i)
    reinterpret_cast<float *>(mutableData(product))[i] =
        reinterpret_cast<const float *>(values->data)[i] *
        reinterpret_cast<const float *>(factors->data)[i % b.shape[1]];
  return product;
}

Status takeBaseTerm(const PeftConfig &config, const std::string &path, const Tensor *diagonal,
                    Update &update) {
  const std::string init = initialization(config);
  bool isKasa = config.isSet("kasa_config");
  if (isKasa != (diagonal != nullptr))
    return isKasa ? config.error("kasa_config", "is set, but there is no lora_diag for '" + path + "'")
                  : Error{"'" + diagonal->key + "' is there, but kasa_config is not set in " + config.path()};
  if (init != "pissa" && init != "olora" && !isKasa)
    return Done{};
  if (update.layer != Layer::Product || update.tensors.at("A").shape.size() != 2)
    return config.error(isKasa ? "kasa_config" : "init_lora_weights",
                        "takes a part of the weight away, which is known of linear layers alone, not of '" +
                            path + "'");
  update.taken = BaseTerm{isKasa            ? BaseTerm::Smallest
                          : init == "pissa" ? BaseTerm::Largest
                                            : BaseTerm::Leading,
                          update.rank};
  if (!isKasa)
    return Done{};
  Result<Tensor> scaled = scaledColumns(update.tensors.at("B"), *diagonal);
  if (!scaled)
    return scaled.error();
  update.tensors["B"] = std::move(*scaled);
  return Done{};
}

} // namespace adapter::checkpoint
