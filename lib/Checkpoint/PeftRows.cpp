// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Rows of embeddings that PEFT trains beside a LoRA: trainable_token_indices.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/PeftConfig.h"
#include "lib/Checkpoint/Text.h"
#include <cstring>
#include <map>

namespace adapter::checkpoint {

// The list of indices for a module, null where there is none; and whether all modules have the same.
static const Json *listFor(const Json &setting, const std::string &path, bool &sameEverywhere) {
  const Json *list = setting.is_array() ? &setting : nullptr;
  sameEverywhere = true;
  if (setting.is_object())
    for (const auto &[name, value] : setting.items()) {
      if (!list && (path == name || endsWith(path, "." + name)))
        list = &value;
      sameEverywhere &= value == *setting.begin();
    }
  return list && list->is_array() ? list : nullptr;
}

Status readTokenRows(const PeftConfig &config, const std::string &file, const std::string &path,
                     const Tensor &rows, Update &update, const std::string &field) {
  auto wrong = [&](const std::string &problem) {
    return Error{file + ": tensor '" + rows.key + "' " + problem};
  };
  if (!config.isSet(field))
    return wrong("is there, but " + field + " is not set in " + config.path());
  bool sameEverywhere = true;
  const Json *list = listFor(config.fields().at(field), path, sameEverywhere);
  if (!list)
    return config.error(field, "has no list of indices for '" + path + "'");
  int64_t count = static_cast<int64_t>(list->size());
  if (rows.shape.size() != 2 || rows.shape[0] != count)
    return wrong("has shape " + shapeText(rows.shape) + ", but " + field + " has " + std::to_string(count) +
                 " indices");
  std::map<int64_t, int64_t> order; // index -> row
  for (int64_t i = 0; i < count; ++i) {
    const Json &index = (*list)[i];
    if (!index.is_number_unsigned() || index.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX) ||
        !order.emplace(static_cast<int64_t>(index.get<uint64_t>()), i).second)
      return config.error(field, "holds an index that is negative, no integer or there twice");
  }
  Tensor indices = allocateTensor(DType::I64, {count}), sorted = allocateTensor(rows.dtype, rows.shape);
  indices.key = rows.key + " (indices)";
  sorted.key = rows.key;
  size_t rowBytes = rows.bytes / count, next = 0;
  for (const auto &[index, row] : order) {
    std::memcpy(mutableData(indices) + next * 8, &index, 8);
    std::memcpy(mutableData(sorted) + next * rowBytes, rows.data + row * rowBytes, rowBytes);
    ++next;
  }
  update.tied &= sameEverywhere;
  update.tensors["indices"] = std::move(indices);
  update.tensors["rows"] = std::move(sorted);
  return Done{};
}

} // namespace adapter::checkpoint
