// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What combining gives: its folder, and the same without a folder.
#include "lib/Checkpoint/Hash.h"
#include "lib/Diff/Combine.h"
#include "lib/Diff/Folder.h"
#include <algorithm>

namespace adapter::diff {

using namespace checkpoint;

int64_t Combined::rank() const {
  int64_t most = 0;
  for (const auto &[module, each] : ranks)
    most = std::max(most, each);
  return most;
}

std::string Combined::text() const {
  std::string text = std::to_string(ranks.size()) + " modules, ranks up to " + std::to_string(rank());
  if (!isCut)
    return text;
  char numbers[64];
  std::snprintf(numbers, sizeof numbers, ", relative error of the cut %.1e", error);
  text += numbers;
  if (ranks.size() > 1 && largestError > 0) {
    std::snprintf(numbers, sizeof numbers, " (largest %.1e at '", largestError);
    text += numbers + largestAt + "')";
  }
  return text;
}

Adapter Combined::adapter(const std::string &name) const {
  Adapter adapter;
  adapter.method = "lora";
  adapter.path = name;
  adapter.baseModel = configuration.value("base_model_name_or_path", "");
  std::string text = configuration.dump();
  std::vector<std::string_view> contents{text};
  auto add = [&](Update &update, const char *role, const Tensor &tensor) {
    contents.emplace_back(reinterpret_cast<const char *>(tensor.data), tensor.bytes);
    update.tensors[role] = tensor;
  };
  auto tensor = tensors.begin();
  for (const auto &[module, each] : ranks) {
    Update update;
    update.module = module;
    update.parameter = "weight";
    update.form = "lora";
    update.rank = each;
    bool isTable = tensor->key.find(".lora_embedding_") != std::string::npos;
    update.layer = isTable ? Layer::Embedding : Layer::Product;
    update.transposed = configuration.value("fan_in_fan_out", false) && !isTable && tensor->shape.size() == 2;
    add(update, "A", *tensor++);
    add(update, "B", *tensor++);
    adapter.updates.push_back(std::move(update));
  }
  for (const auto &[module, change] : biases) {
    Update update;
    update.module = module;
    update.parameter = "bias";
    update.form = "add";
    add(update, "value", change);
    adapter.updates.push_back(std::move(update));
  }
  adapter.hash = hashParts(contents);
  return adapter;
}

Status Combined::write(const std::string &folder) const {
  if (!unwritable.empty())
    return Error{unwritable + ", which a folder of PEFT's LoRA cannot hold; --combine can"};
  return writeAdapter(folder, tensors, configuration);
}

} // namespace adapter::diff
