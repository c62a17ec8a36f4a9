// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Diff.h.
#include "lib/Diff/Diff.h"
#include "lib/Checkpoint/BaseModel.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Diff/Folder.h"
#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <map>
#include <numeric>
#include <optional>
#include <regex>
#include <set>

namespace adapter::diff {

using namespace checkpoint;

double Report::kept() const {
  double all = 0, held = 0;
  for (const Change &change : changes) {
    all += change.weight;
    held += change.weight * change.kept;
  }
  return all > 0 ? held / all : 1.0;
}

namespace {

bool endsWith(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

std::string moduleOf(const Tensor &tensor) { return tensor.key.substr(0, tensor.key.rfind('.')); }

// "model-00001-of-00002.safetensors"
bool isOneOfSeveral(const std::string &file) {
  return std::regex_search(file, std::regex("-[0-9]{5}-of-[0-9]{5}\\.safetensors$")) &&
         !endsWith(file, "-00001-of-00001.safetensors");
}

// Tables of tokens, by the names that models give them.
bool isTable(const Tensor &tensor) {
  std::string module = moduleOf(tensor), name = module.substr(module.rfind('.') + 1);
  bool isNamed =
      name.find("embed") != std::string::npos || name == "wte" || name == "wpe" || name == "shared";
  return isNamed && tensor.shape.size() == 2 && endsWith(tensor.key, ".weight");
}

// The first name of a path: encoder and decoder may store their weights otherwise.
std::string partOf(const std::string &path) { return path.substr(0, path.find('.')); }

class Extractor {
public:
  Extractor(std::string baseFile, std::string tunedFile, const Options &options)
      : baseFile(std::move(baseFile)), tunedFile(std::move(tunedFile)), options(options) {}
  Result<Report> run(const std::string &folder);

private:
  Status checkSame();
  Status compare(const Tensor &before, const Tensor &after);
  Status addSparse(const Tensor &before, const Tensor &after, const std::vector<double> &delta);
  Status addLowRank(const Tensor &after, std::vector<double> delta);
  void addWholes();
  bool noteTie(const Tensor &tensor);
  // Whether a module's weight is [in, out], as GPT-2's. Its bias tells, of square weights the file's others.
  bool isTransposed(const std::string &module, const Tensor &weight) const;
  bool isUnclear(const Tensor &weight) const;
  Json configuration() const;
  void push(std::string key, Tensor tensor) {
    tensor.key = std::move(key);
    tensors.push_back(std::move(tensor));
  }

  std::string baseFile, tunedFile;
  const Options &options;
  std::optional<BaseModel> base, tuned;
  std::vector<Tensor> tensors;
  std::map<std::string, int64_t> ranks; // by module
  std::vector<const Tensor *> wholes;
  std::vector<std::string> saved, tied;
  // Weights whose biases tell how they lie, by part of the model: its first name.
  std::set<std::string> transposed, straight;
  bool anyTransposed = false, biases = false;
  Report report;
};

Tensor fromDoubles(const std::vector<double> &values, std::vector<int64_t> shape) {
  Tensor tensor = allocateTensor(DType::F32, std::move(shape));
  float *data = reinterpret_cast<float *>(mutableData(tensor));
  std::copy(values.begin(), values.end(), data);
  return tensor;
}

double sumOfSquares(const std::vector<double> &values) {
  return std::inner_product(values.begin(), values.end(), values.begin(), 0.0);
}

Status Extractor::checkSame() {
  for (auto [model, other] : {std::pair(&*tuned, &*base), std::pair(&*base, &*tuned)})
    for (const Tensor *each : model->tensors()) {
      const Tensor &tensor = *each, *twin = other->find(tensor.key);
      if (!twin)
        return Error{other->path() + ": has no tensor '" + tensor.key + "', which " + model->path() +
                     " has; the two are to be one model"};
      if (twin->shape != tensor.shape || (twin->dtype != tensor.dtype && !isFloat(tensor.dtype)))
        return Error{other->path() + ": tensor '" + tensor.key + "' is " + dtypeName(twin->dtype) +
                     " of shape " + shapeText(twin->shape) + ", in the other file " +
                     dtypeName(tensor.dtype) + " of shape " + shapeText(tensor.shape)};
    }
  return Done{};
}

// As PEFT has them: a module that no factors act on is saved, a bias travels with `bias: all`.
void Extractor::addWholes() {
  for (const Tensor *whole : wholes)
    if (!endsWith(whole->key, ".bias"))
      saved.push_back(moduleOf(*whole));
  for (const Tensor *whole : wholes) {
    std::string module = moduleOf(*whole), parameter = whole->key.substr(module.size());
    bool isSaved = std::find(saved.begin(), saved.end(), module) != saved.end();
    biases |= !isSaved;
    push("base_model.model." + module + (ranks.count(module) ? ".base_layer" : "") + parameter, *whole);
  }
}

// Whether the head of the model may follow a table: a checkpoint of tied weights lists the table alone.
bool Extractor::noteTie(const Tensor &tensor) {
  if (!isTable(tensor))
    return false;
  const Tensor &before = *base->find(tensor.key);
  for (const Tensor *other : base->tensors())
    if (other->key != tensor.key && other->shape == before.shape && other->dtype == before.dtype &&
        std::memcmp(other->data, before.data, before.bytes) == 0)
      return false;
  tied.push_back(moduleOf(tensor));
  return true;
}

Status Extractor::addSparse(const Tensor &before, const Tensor &after, const std::vector<double> &delta) {
  std::vector<int64_t> touched;
  for (size_t i = 0; i < delta.size(); ++i)
    if (delta[i] != 0)
      touched.push_back(static_cast<int64_t>(i));
  double all = sumOfSquares(delta);
  auto most = static_cast<size_t>(std::ceil(options.density * static_cast<double>(delta.size())));
  if (touched.size() > most) {
    // The largest by magnitude, the first of equals.
    std::nth_element(touched.begin(), touched.begin() + most, touched.end(), [&](int64_t a, int64_t b) {
      return std::make_pair(-std::fabs(delta[a]), a) < std::make_pair(-std::fabs(delta[b]), b);
    });
    touched.resize(most);
    std::sort(touched.begin(), touched.end());
  }
  auto count = static_cast<int64_t>(touched.size()), dims = static_cast<int64_t>(after.shape.size());
  Tensor indices = allocateTensor(DType::I32, {dims, count});
  int32_t *index = reinterpret_cast<int32_t *>(mutableData(indices));
  double kept = 0;
  std::vector<double> values(count);
  Result<Tensor> now = toF32(after);
  if (!now)
    return now.error();
  const float *nowData = reinterpret_cast<const float *>(now->data);
  for (int64_t i = 0; i < count; ++i) {
    int64_t at = touched[i];
    kept += delta[at] * delta[at];
    values[i] = options.overwrite ? nowData[at] : delta[at];
    for (int64_t d = dims - 1; d >= 0; at /= after.shape[d--])
      index[d * count + i] = static_cast<int32_t>(at % after.shape[d]);
  }
  report.changes.push_back({before.key, "sparse", count, kept / all, all, noteTie(before)});
  push("base_model.model." + after.key + ".sparse_indices", std::move(indices));
  push("base_model.model." + after.key + ".sparse_values", fromDoubles(values, {count}));
  return Done{};
}

bool Extractor::isTransposed(const std::string &module, const Tensor &weight) const {
  const Tensor *bias = tuned->find(module + ".bias");
  if (!bias || bias->shape.size() != 1)
    return false;
  if (weight.shape[0] == weight.shape[1])
    return transposed.count(partOf(module)) > 0;
  return bias->shape[0] == weight.shape[1];
}

// Whether nothing tells how a square weight lies: biases tell of the others, and those must agree.
bool Extractor::isUnclear(const Tensor &weight) const {
  const Tensor *bias = tuned->find(moduleOf(weight) + ".bias");
  return weight.shape[0] == weight.shape[1] && weight.shape[0] > 1 && bias && bias->shape.size() == 1 &&
         transposed.count(partOf(weight.key)) == straight.count(partOf(weight.key));
}

Status Extractor::addLowRank(const Tensor &after, std::vector<double> delta) {
  std::string module = moduleOf(after);
  bool embedding = isTable(after);
  int64_t rows = after.shape[0], columns = after.shape[1];
  double all = sumOfSquares(delta);
  // PEFT's factors of an embedding and of a weight that is stored [in, out] are those of the transpose.
  bool turn = embedding || isTransposed(module, after);
  if (turn) {
    std::vector<double> turned(delta.size());
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j)
        turned[j * rows + i] = delta[i * columns + j];
    delta = std::move(turned);
    std::swap(rows, columns);
  }
  Result<Factors> factors = factorise(delta.data(), rows, columns, options.rank);
  if (!factors)
    return Error{tunedFile + ": tensor '" + after.key + "': " + factors.error().message};
  int64_t rank = factors->rank;
  for (int64_t i = 0; i < rows; ++i)
    for (int64_t r = 0; r < rank; ++r)
      for (int64_t j = 0; j < columns; ++j)
        delta[i * columns + j] -= factors->b[i * rank + r] * factors->a[r * columns + j];
  report.changes.push_back({after.key, embedding ? "lora_embedding" : "lora", rank,
                            1.0 - sumOfSquares(delta) / all, all, noteTie(after)});
  ranks[module] = rank;
  std::string key = "base_model.model." + module;
  push(key + (embedding ? ".lora_embedding_A" : ".lora_A.weight"), fromDoubles(factors->a, {rank, columns}));
  push(key + (embedding ? ".lora_embedding_B" : ".lora_B.weight"), fromDoubles(factors->b, {rows, rank}));
  return Done{};
}

Status Extractor::compare(const Tensor &before, const Tensor &after) {
  bool same = before.dtype == after.dtype && std::memcmp(before.data, after.data, after.bytes) == 0;
  if (same) {
    ++report.unchanged;
    return Done{};
  }
  if (!isFloat(after.dtype))
    return Error{tunedFile + ": tensor '" + after.key + "' of " + dtypeName(after.dtype) +
                 " changed; adapters change floats only"};
  if (!allFinite(before) || !allFinite(after))
    return Error{(allFinite(before) ? tunedFile : baseFile) + ": tensor '" + after.key +
                 "' holds NaN or infinite values"};
  Result<Tensor> from = toF32(before), to = toF32(after);
  if (!from)
    return from.error();
  if (!to)
    return to.error();
  std::vector<double> delta(after.elements());
  for (size_t i = 0; i < delta.size(); ++i)
    delta[i] = static_cast<double>(reinterpret_cast<const float *>(to->data)[i]) -
               reinterpret_cast<const float *>(from->data)[i];
  double all = sumOfSquares(delta);
  if (all == 0) { // another type, equal numbers
    ++report.unchanged;
    return Done{};
  }
  if (after.key.rfind('.') == std::string::npos)
    return Error{tunedFile + ": tensor '" + after.key + "' changed, but its name has no module path"};
  bool isWeight = endsWith(after.key, ".weight");
  if (options.form == Form::Sparse)
    return addSparse(before, after, delta);
  if (isWeight && after.shape.size() == 2 && (isTable(after) || !isUnclear(after)))
    return addLowRank(after, std::move(delta));
  report.changes.push_back({after.key, "whole", after.elements(), 1.0, all});
  wholes.push_back(&after);
  return Done{};
}

Json Extractor::configuration() const {
  if (options.form == Form::Sparse)
    return {{"peft_type", "ADAPTER_OPT_SPARSE"},
            {"mode", options.overwrite ? "overwrite" : "add"},
            {"tied", tied},
            {"base_digest", base->digest()}};
  Json config = {
      {"peft_type", "LORA"},    {"bias", biases ? "all" : "none"},      {"fan_in_fan_out", anyTransposed},
      {"inference_mode", true}, {"ensure_weight_tying", !tied.empty()}, {"base_digest", base->digest()}};
  addRanks(config, ranks);
  if (!saved.empty())
    config["modules_to_save"] = saved;
  return config;
}

Result<Report> Extractor::run(const std::string &folder) {
  for (auto [file, into] : {std::pair(&baseFile, &base), std::pair(&tunedFile, &tuned)}) {
    if (isOneOfSeveral(*file))
      return Error{*file +
                   ": one of several files of a model; name their folder, so that all of it is compared"};
    Result<BaseModel> read = BaseModel::open(*file);
    if (!read)
      return read.error();
    *into = std::move(*read);
  }
  if (Status status = checkSame(); !status)
    return status.error();
  for (const Tensor *tensor : tuned->tensors())
    if (const Tensor *bias = tuned->find(moduleOf(*tensor) + ".bias");
        bias && bias->shape.size() == 1 && tensor->shape.size() == 2 && endsWith(tensor->key, ".weight") &&
        tensor->shape[0] != tensor->shape[1])
      (bias->shape[0] == tensor->shape[1] ? transposed : straight).insert(partOf(tensor->key));
  anyTransposed = !transposed.empty();
  for (const Tensor *after : tuned->tensors())
    if (Status status = compare(*base->find(after->key), *after); !status)
      return status.error();
  addWholes();
  if (report.changes.empty())
    return Error{tunedFile + ": holds the same numbers as " + baseFile + "; there is nothing to extract"};
  std::sort(saved.begin(), saved.end());
  saved.erase(std::unique(saved.begin(), saved.end()), saved.end());
  if (Status status = writeAdapter(folder, tensors, configuration()); !status)
    return status.error();
  return std::move(report);
}

} // namespace

Result<Report> extract(const std::string &base, const std::string &tuned, const std::string &folder,
                       const Options &options) {
  return Extractor(base, tuned, options).run(folder);
}

} // namespace adapter::diff
