// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Experts of mixtures; see Experts.h.
#include "lib/Checkpoint/Experts.h"
#include "lib/Checkpoint/DType.h"
#include <cstring>

namespace adapter::checkpoint {

Result<std::string> expertFolder(const PeftConfig &config, const std::string &field,
                                 const std::string &folder, const std::string &path) {
  if (path.empty() || path.front() == '/' || path.find('\0') != std::string::npos)
    return config.error(field, "has the path '" + path + "'; expected one relative to the folder");
  // How many folders the path is below this one, at each of its steps.
  int depth = 0;
  for (size_t start = 0; start <= path.size();) {
    size_t end = std::min(path.find('/', start), path.size());
    std::string step = path.substr(start, end - start);
    if (step == "..")
      --depth;
    else if (!step.empty() && step != ".")
      ++depth;
    if (depth < -1)
      return config.error(field, "has the path '" + path + "', which leaves the folder around this one");
    start = end + 1;
  }
  return folder + "/" + path;
}

// The roles that an update has tensors for, as in "A, B, magnitude": they say which variant of its form it is.
static std::string rolesText(const Update &update) {
  std::string text;
  for (const auto &[role, tensor] : update.tensors)
    text += (text.empty() ? "" : ", ") + role;
  return text;
}

Result<ExpertsByModule> readExperts(const std::vector<std::string> &folders, std::string &hashes) {
  ExpertsByModule experts;
  for (size_t i = 0; i < folders.size(); ++i) {
    Result<Adapter> adapter = readLoraFolder(folders[i]);
    if (!adapter)
      return adapter.error();
    hashes += adapter->hash + ";";
    for (Update &update : adapter->updates) {
      bool isPlain = update.form == "lora" && update.parameter == "weight" &&
                     update.layer == Layer::Product && update.tensors.size() == 2 && !update.taken &&
                     update.tensors.at("A").shape.size() == 2;
      if (!isPlain)
        return Error{folders[i] + ": module '" + update.module + "' (" + update.parameter + ", " +
                     update.form + " of " + rolesText(update) +
                     "): an expert of a mixture can be a plain LoRA of linears only"};
      Expert &expert = experts[update.module][static_cast<int64_t>(i)];
      expert = {std::move(update.tensors.at("A")), std::move(update.tensors.at("B")), update.scale};
    }
  }
  return experts;
}

Status stackExperts(const std::map<int64_t, Expert> &experts, int64_t count, double scale, Update &update,
                    std::vector<int64_t> &ranks) {
  ranks.assign(count, 0);
  const Expert &first = experts.begin()->second;
  int64_t in = first.a.shape[1], out = first.b.shape[0], total = 0;
  for (const auto &[number, expert] : experts) {
    if (expert.a.shape[1] != in || expert.b.shape[0] != out)
      return Error{"module '" + update.module + "': '" + expert.a.key + "' and '" + expert.b.key +
                   "' of one expert are " + shapeText(expert.a.shape) + " and " + shapeText(expert.b.shape) +
                   ", those of another " + shapeText(first.a.shape) + " and " + shapeText(first.b.shape)};
    ranks[number] = expert.a.shape[0];
    total += ranks[number];
  }
  Tensor a = allocateTensor(DType::F32, {total, in}), b = allocateTensor(DType::F32, {out, total});
  auto *aRows = reinterpret_cast<float *>(mutableData(a));
  auto *bRows = reinterpret_cast<float *>(mutableData(b));
  int64_t offset = 0;
  for (const auto &[number, expert] : experts) {
    Result<Tensor> wideA = toF32(expert.a), wideB = toF32(expert.b);
    if (!wideA)
      return wideA.error();
    if (!wideB)
      return wideB.error();
    int64_t rank = ranks[number];
    std::memcpy(aRows + offset * in, wideA->data, rank * in * sizeof(float));
    const auto *from = reinterpret_cast<const float *>(wideB->data);
    for (int64_t o = 0; o < out; ++o)
      for (int64_t r = 0; r < rank; ++r)
        bRows[o * total + offset + r] = static_cast<float>(from[o * rank + r] * expert.scale * scale);
    offset += rank;
  }
  a.key = first.a.key;
  b.key = first.b.key;
  update.rank = total;
  update.tensors["A"] = std::move(a);
  update.tensors["B"] = std::move(b);
  return Done{};
}

} // namespace adapter::checkpoint
