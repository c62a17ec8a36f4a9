// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See BaseModel.h. Where the Hugging Face cache lies: huggingface_hub's documentation, "Manage your cache".
#include "lib/Checkpoint/BaseModel.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Json.h"
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

namespace adapter::checkpoint {

namespace fs = std::filesystem;

namespace {

constexpr const char *indexName = "model.safetensors.index.json";

bool hasEnding(const std::string &text, const std::string &end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

// The .safetensors files of a folder that hold a model rather than an adapter, in order.
std::vector<std::string> weightFiles(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code code;
  for (fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
    std::string name = it->path().filename().string();
    if (hasEnding(name, ".safetensors") && name != "adapter_model.safetensors")
      names.push_back(name);
  }
  // Some folders hold a second copy in its author's own naming.
  bool hasModel = std::any_of(names.begin(), names.end(),
                              [](const std::string &name) { return name.rfind("model", 0) == 0; });
  if (hasModel)
    names.erase(std::remove_if(names.begin(), names.end(),
                               [](const std::string &name) { return name.rfind("consolidated", 0) == 0; }),
                names.end());
  std::sort(names.begin(), names.end());
  return names;
}

// Shards by tensor.
Result<std::map<std::string, std::string>> readIndex(const std::string &path) {
  Result<MappedFile> file = mapFile(path);
  if (!file)
    return file.error();
  Result<Json> json = parseJson(file->text(), path);
  if (!json)
    return json.error();
  if (!json->is_object() || !json->contains("weight_map") || !(*json)["weight_map"].is_object())
    return Error{path + ": no index of shards: it has no weight_map"};
  std::map<std::string, std::string> shards;
  for (const auto &[key, shard] : (*json)["weight_map"].items()) {
    std::string name = shard.is_string() ? shard.get<std::string>() : "";
    if (name.empty() || name.find('/') != std::string::npos || name == "..")
      return Error{path + ": tensor '" + key + "' is in no file of the folder"};
    shards[key] = name;
  }
  return shards;
}

} // namespace

Status BaseModel::add(const std::string &file) {
  Result<Safetensors> read = readSafetensors(file);
  if (!read)
    return read.error();
  files.push_back(std::make_shared<Safetensors>(std::move(*read)));
  for (const Tensor &tensor : files.back()->tensors) {
    if (!byKey.emplace(tensor.key, &tensor).second)
      return Error{file + ": tensor '" + tensor.key + "' is in another file of the folder too"};
    all.push_back(&tensor);
  }
  return Done{};
}

Result<BaseModel> BaseModel::open(const std::string &path) {
  BaseModel model;
  model.where = path;
  if (!isDirectory(path)) {
    if (!exists(path))
      return Error{path + ": does not exist"};
    if (hasEnding(path, indexName))
      return open(path.size() > std::string(indexName).size() ? fs::path(path).parent_path().string() : ".");
    if (Status status = model.add(path); !status)
      return status.error();
    return model;
  }
  std::string index = path + "/" + indexName;
  std::map<std::string, std::string> shards;
  std::vector<std::string> names;
  if (exists(index)) {
    Result<std::map<std::string, std::string>> read = readIndex(index);
    if (!read)
      return read.error();
    shards = std::move(*read);
    std::set<std::string> distinct;
    for (const auto &[key, shard] : shards)
      distinct.insert(shard);
    names.assign(distinct.begin(), distinct.end());
  } else {
    names = weightFiles(path);
  }
  if (names.empty())
    return Error{path + ": the folder holds no .safetensors file of a model"};
  for (const std::string &name : names)
    if (Status status = model.add(path + "/" + name); !status)
      return status.error();
  for (const auto &[key, shard] : shards)
    if (!model.find(key))
      return Error{path + "/" + shard + ": lacks tensor '" + key + "', which " + index + " says it has"};
  return model;
}

const Tensor *BaseModel::find(const std::string &key) const {
  auto found = byKey.find(key);
  return found == byKey.end() ? nullptr : found->second;
}

const std::string &BaseModel::digest() const {
  if (!hash.empty())
    return hash;
  std::map<std::string, std::string> parts;
  for (const Tensor *tensor : all)
    parts[tensor->key] =
        dtypeName(tensor->dtype) + shapeText(tensor->shape) + hashBytes(tensor->data, tensor->bytes);
  std::vector<std::string_view> texts;
  for (const auto &[key, text] : parts) {
    texts.push_back(key);
    texts.push_back(text);
  }
  return hash = hashParts(texts);
}

static std::string environment(const char *name) {
  const char *value = std::getenv(name);
  return value ? value : "";
}

static std::string cacheFolder() {
  if (std::string hub = environment("HF_HUB_CACHE"); !hub.empty())
    return hub;
  if (std::string home = environment("HF_HOME"); !home.empty())
    return home + "/hub";
  if (std::string cache = environment("XDG_CACHE_HOME"); !cache.empty())
    return cache + "/huggingface/hub";
  std::string home = environment("HOME");
  return home.empty() ? "" : home + "/.cache/huggingface/hub";
}

std::optional<std::string> findLocalModel(const std::string &nameOrPath, const std::string &revision) {
  if (nameOrPath.empty())
    return std::nullopt;
  if (isDirectory(nameOrPath))
    return weightFiles(nameOrPath).empty() ? std::nullopt : std::optional(nameOrPath);
  // "organisation/name", in the cache "models--organisation--name".
  std::string repository = "models--", cache = cacheFolder();
  for (char c : nameOrPath)
    repository += c == '/' ? std::string("--") : std::string(1, c);
  bool isName = std::count(nameOrPath.begin(), nameOrPath.end(), '/') <= 1 && nameOrPath.front() != '/' &&
                nameOrPath.find("..") == std::string::npos;
  if (cache.empty() || !isName)
    return std::nullopt;
  std::string folder = cache + "/" + repository, wanted = revision.empty() ? "main" : revision;
  if (wanted.find("..") != std::string::npos)
    return std::nullopt;
  if (Result<MappedFile> reference = mapFile(folder + "/refs/" + wanted)) {
    wanted = std::string(reference->text());
    wanted.erase(wanted.find_last_not_of(" \n\r\t") + 1);
  }
  std::string snapshot = folder + "/snapshots/" + wanted;
  bool isThere = !wanted.empty() && wanted.find('/') == std::string::npos && isDirectory(snapshot);
  return isThere && !weightFiles(snapshot).empty() ? std::optional(snapshot) : std::nullopt;
}

} // namespace adapter::checkpoint
