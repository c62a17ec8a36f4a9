// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// readAdapter: finds out what a file or folder is, by what is in it, and hands it to the reader of its format.
#include "lib/Checkpoint/AdapterHub.h"
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/Experts.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>
#include <exception>
#include <filesystem>

namespace adapter::checkpoint {

static const char *const configName = "adapter_config.json";

Status hashFiles(Adapter &adapter, const std::vector<std::string> &files) {
  std::vector<MappedFile> mapped;
  std::vector<std::string_view> texts;
  for (const std::string &file : files) {
    Result<MappedFile> bytes = mapFile(file);
    if (!bytes)
      return bytes.error();
    mapped.push_back(std::move(*bytes));
    texts.push_back(mapped.back().text());
  }
  std::string others = adapter.hash;
  if (!others.empty())
    texts.push_back(others);
  adapter.hash = hashParts(texts);
  return Done{};
}

// The names in a folder, in order; as many as a message or a choice can be about.
static std::vector<std::string> namesIn(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (std::filesystem::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

static Result<Adapter> readHubFolder(const PeftConfig &config, const std::string &folder) {
  Adapter adapter;
  adapter.path = folder;
  std::vector<std::string> files = {config.path()};
  if (Status status = readAdapterHub(config, folder, adapter, files); !status)
    return status.error();
  if (Status status = hashFiles(adapter, files); !status)
    return status.error();
  return adapter;
}

static Result<Adapter> readMlxFolder(const PeftConfig &config, const std::string &folder) {
  std::string file = folder + "/adapters.safetensors";
  if (!exists(file))
    return Error{folder +
                 ": no adapters.safetensors there, which belongs to the adapter_config.json of mlx-lm"};
  Result<Safetensors> tensors = readAdapterTensors(file);
  if (!tensors)
    return tensors.error();
  Adapter adapter;
  adapter.path = folder;
  adapter.method = "lora";
  if (Status status = readMlx(config, file, *tensors, adapter); !status)
    return status.error();
  if (Status status = hashFiles(adapter, {config.path(), file}); !status)
    return status.error();
  return adapter;
}

// A file that needs no other, or none but the hash's.
static Result<Adapter> readSingle(const std::string &file) {
  Result<MappedFile> mapped = mapFile(file);
  if (!mapped)
    return mapped.error();
  Adapter adapter;
  adapter.path = file;
  adapter.method = "lora";
  std::vector<std::string> files = {file};
  Status status = Done{};
  if (isGguf(mapped->text())) {
    status = readGgufLora(file, adapter, files);
  } else if (isOnnxAdapter(mapped->text())) {
    status = readOnnxAdapter(file, adapter);
  } else if (endsWith(file, ".safetensors")) {
    Result<Safetensors> tensors = readAdapterTensors(file);
    status = !tensors                ? Status(tensors.error())
             : isKohya(*tensors)     ? readKohya(file, *tensors, adapter)
             : isDiffusers(*tensors) ? readDiffusers(file, *tensors, adapter)
                                     : Status(describeTensors(file, *tensors));
  } else {
    status = describeFile(file, mapped->text());
  }
  if (!status)
    return status.error();
  if (status = hashFiles(adapter, files); !status)
    return status.error();
  return adapter;
}

// The tensors of a PEFT folder: under PEFT's name, or the only ones there.
static Result<std::string> findTensors(const std::string &folder) {
  std::string usual = folder + "/adapter_model.safetensors";
  if (exists(usual))
    return usual;
  std::vector<std::string> names = namesIn(folder), found;
  for (const std::string &name : names) {
    if (name == "adapter_model.safetensors.index.json" ||
        (startsWith(name, "adapter_model-") && endsWith(name, ".safetensors")))
      return Error{folder + "/" + name +
                   ": the adapter is in several files; put their tensors into one "
                   "adapter_model.safetensors (safetensors.torch.load_file and save_file)"};
    if (endsWith(name, ".safetensors"))
      found.push_back(name);
  }
  if (found.size() == 1)
    return folder + "/" + found[0];
  if (found.size() > 1)
    return Error{folder + ": no adapter_model.safetensors there, but " + found[0] + " and " + found[1] +
                 "; give the file that is meant"};
  if (exists(folder + "/adapter_model.bin"))
    return describePickle(folder + "/adapter_model.bin", "adapter_model.safetensors");
  return Error{folder + ": no adapter_model.safetensors there"};
}

static Result<Adapter> readConfigured(const std::string &folder, const std::string &configFile) {
  Result<PeftConfig> config = PeftConfig::read(configFile);
  if (!config)
    return config.error();
  if (isAdapterHub(*config))
    return readHubFolder(*config, folder);
  if (isMlx(*config))
    return readMlxFolder(*config, folder);
  Result<std::string> file = findTensors(folder);
  return file ? readPeft(*config, folder, *file) : Result<Adapter>(file.error());
}

static Result<Adapter> readFolder(const std::string &folder) {
  if (std::string config = folder + "/" + configName; exists(config))
    return readConfigured(folder, config);
  std::vector<std::string> names = namesIn(folder), found;
  for (const std::string &name : names)
    if (endsWith(name, ".safetensors") || endsWith(name, ".gguf") || endsWith(name, ".onnx_adapter"))
      found.push_back(name);
  // A base's config.json may lie beside a GGUF file; beside safetensors it makes them a model.
  bool isModel = exists(folder + "/config.json") && !(found.size() == 1 && endsWith(found[0], ".gguf"));
  if (found.size() == 1 && !isModel)
    return readSingle(folder + "/" + found[0]);
  return describeFolder(folder, names);
}

Result<Adapter> readLoraFolder(const std::string &folder) {
  std::string configFile = folder + "/" + configName;
  if (!exists(configFile))
    return Error{configFile + ": does not exist; an expert of a mixture is a folder that PEFT's "
                              "save_pretrained wrote"};
  Result<PeftConfig> config = PeftConfig::read(configFile);
  if (!config)
    return config.error();
  Result<std::string> file = findTensors(folder);
  return file ? readPeft(*config, folder, *file, "lora") : Result<Adapter>(file.error());
}

// A safetensors file of a folder that has a configuration is read with it.
static Result<Adapter> readFile(const std::string &file) {
  size_t slash = file.rfind('/');
  std::string folder = slash == std::string::npos ? "." : slash == 0 ? "/" : file.substr(0, slash);
  std::string name = file.substr(slash == std::string::npos ? 0 : slash + 1),
              config = folder + "/" + configName;
  if (!endsWith(name, ".safetensors") || !exists(config))
    return readSingle(file);
  Result<PeftConfig> read = PeftConfig::read(config);
  if (!read)
    return read.error();
  if (isAdapterHub(*read) || isMlx(*read))
    return name == "adapter.safetensors" || name == "adapters.safetensors" ? readConfigured(folder, config)
                                                                           : readSingle(file);
  return readPeft(*read, folder, file);
}

Result<Adapter> readAdapter(const std::string &path) {
  try {
    if (isDirectory(path))
      return readFolder(path);
    return exists(path) ? readFile(path) : Error{path + ": does not exist"};
  } catch (const std::exception &exception) {
    return Error{path + ": cannot be read: " + exception.what()};
  }
}

} // namespace adapter::checkpoint
