// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Factors of tasks; see Skills.h.
#include "lib/Checkpoint/Skills.h"
#include "lib/Checkpoint/DType.h"
#include <algorithm>
#include <cmath>

namespace adapter::checkpoint {

namespace {

// Shares of the skills [splits][skills] in one task.
std::vector<double> sharesOf(const Tensor &logits, int64_t splits, int64_t skills, int64_t task) {
  auto *row = reinterpret_cast<const float *>(logits.data) + task * splits * skills;
  std::vector<double> shares;
  for (int64_t i = 0; i < splits * skills; ++i)
    shares.push_back(1.0 / (1.0 + std::exp(-static_cast<double>(row[i]))));
  for (auto split = shares.begin(); split != shares.end(); split += skills) {
    double sum = 1e-12;
    for (int64_t s = 0; s < skills; ++s)
      sum += split[s];
    for (int64_t s = 0; s < skills; ++s)
      split[s] /= sum;
  }
  return shares;
}

// The mean of the skills [splits, skills, rows, columns]: [splits * rows, columns], or with `isDown` transposed, or
// without [splits * columns, rows].
Tensor mix(const Tensor &skills, const std::vector<double> &shares, bool isDown) {
  int64_t splits = skills.shape[0], count = skills.shape[1], rows = skills.shape[2],
          columns = skills.shape[3];
  int64_t width = isDown ? splits * rows : splits * columns, rank = isDown ? columns : rows;
  Tensor result = allocateTensor(DType::F32, isDown ? std::vector<int64_t>{rank, width}
                                                    : std::vector<int64_t>{width, rank});
  auto *from = reinterpret_cast<const float *>(skills.data);
  auto *to = reinterpret_cast<float *>(mutableData(result));
  for (int64_t q = 0; q < splits; ++q)
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) {
        double sum = 0;
        for (int64_t s = 0; s < count; ++s)
          sum += shares[q * count + s] * from[((q * count + s) * rows + i) * columns + j];
        int64_t place = isDown ? j * width + q * rows + i : (q * columns + j) * rank + i;
        to[place] = static_cast<float>(sum);
      }
  return result;
}

} // namespace

int64_t Adapter::tasks() const {
  int64_t count = 0;
  for (const Update &update : updates)
    count = std::max(count, update.tasks);
  return count;
}

Status Update::complete(int64_t out, int64_t columns) {
  for (const auto &[role, make] : later) {
    Result<Tensor> tensor = make(out, columns);
    if (!tensor)
      return tensor.error();
    tensors[role] = std::move(*tensor);
  }
  later.clear();
  return Done{};
}

std::map<std::string, Tensor> factorsOfTask(const Update &update, int64_t task) {
  const Tensor &a = update.skills.at("A"), &b = update.skills.at("B");
  std::vector<double> shares = sharesOf(update.skills.at("logits"), a.shape[0], a.shape[1], task);
  std::map<std::string, Tensor> factors{{"A", mix(a, shares, true)}, {"B", mix(b, shares, false)}};
  for (auto &[role, tensor] : factors)
    tensor.key = update.skills.at(role).key;
  return factors;
}

Status setSkills(const std::string &file, Update &update) {
  for (auto &[role, tensor] : update.skills) {
    Result<Tensor> wide = toF32(tensor);
    if (!wide)
      return Error{file + ": tensor '" + tensor.key + "': " + wide.error().message};
    wide->key = tensor.key;
    tensor = std::move(*wide);
  }
  const Tensor &a = update.skills.at("A"), &b = update.skills.at("B"), &logits = update.skills.at("logits");
  auto wrong = [&](const Tensor &tensor, const std::string &expected) {
    return Error{file + ": tensor '" + tensor.key + "' has shape " + shapeText(tensor.shape) + ", expected " +
                 expected};
  };
  if (a.shape.size() != 4)
    return wrong(a, "[splits, skills, in / splits, r]");
  if (b.shape.size() != 4 || b.shape[0] != a.shape[0] || b.shape[1] != a.shape[1] || b.shape[2] != a.shape[3])
    return wrong(b, "[splits, skills, r, out / splits], " + shapeText({a.shape[0], a.shape[1], a.shape[3]}) +
                        " in front, as its counterpart has it");
  if (logits.shape.size() != 2 || logits.shape[1] != a.shape[0] * a.shape[1])
    return wrong(logits, "[tasks, " + std::to_string(a.shape[0] * a.shape[1]) + "], splits times skills");
  update.rank = a.shape[3];
  update.tasks = logits.shape[0];
  update.tensors = factorsOfTask(update, 0);
  return Done{};
}

Status chooseTask(Adapter &adapter, int64_t task) {
  for (Update &update : adapter.updates) {
    if (!update.tasks)
      continue;
    if (task < 0 || task >= update.tasks)
      return Error{adapter.path + ": there is no task " + std::to_string(task) + "; there are 0 to " +
                   std::to_string(update.tasks - 1)};
    update.tensors = factorsOfTask(update, task);
    update.tasks = 0;
    update.skills.clear();
  }
  return Done{};
}

} // namespace adapter::checkpoint
