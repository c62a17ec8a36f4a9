// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// readAdapter: finds the files of a folder and hands them to the reader of their library and method.
#include "lib/Checkpoint/AdapterHub.h"
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/Experts.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/PeftConfig.h"
#include <algorithm>
#include <exception>
#include <map>

namespace adapter::checkpoint {

// By peft_type in lower case.
static const std::map<std::string, decltype(&readPeftLora)> readers = {
    {"lora", readPeftLora},
    {"poly", readPeftPoly},
    {"shira", readPeftShira},
    {"adapter_opt_sparse", readSparseFolder},
    {"adapter_opt_mixture", readMixture},
    {"xlora", readXlora},
    {"adapter_opt_mosa", readMosa}};

// Beside what the hash is of already: the experts that a folder names.
static Status hashFiles(Adapter &adapter, const std::vector<std::string> &files) {
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

// With `only`, a folder of another method is an error.
static Result<Adapter> readFolder(const std::string &folder, const char *only = nullptr) {
  std::string configFile = folder + "/adapter_config.json",
              tensorFile = folder + "/adapter_model.safetensors";
  if (!exists(configFile))
    return Error{folder +
                 ": no adapter_config.json there; expected a folder that PEFT's save_pretrained wrote"};
  Result<PeftConfig> config = PeftConfig::read(configFile);
  if (!config)
    return config.error();
  if (!only && isAdapterHub(*config))
    return readHubFolder(*config, folder);
  if (!exists(tensorFile)) {
    std::string pickle = folder + "/adapter_model.bin";
    if (exists(pickle))
      return Error{pickle +
                   ": a pickle, which can run any code and is never read; convert it where it is trusted: "
                   "safetensors.torch.save_file(torch.load('adapter_model.bin', weights_only=True), "
                   "'adapter_model.safetensors')"};
    return Error{folder + ": no adapter_model.safetensors there"};
  }
  Result<std::string> type = config->text("peft_type");
  if (!type)
    return type.error();
  if (type->empty())
    return config->error("peft_type", "is missing");
  Result<Safetensors> tensors = readAdapterTensors(tensorFile);
  if (!tensors)
    return tensors.error();

  Adapter adapter;
  adapter.path = folder;
  Result<std::string> base = config->text("base_model_name_or_path");
  if (!base)
    return base.error();
  adapter.baseModel = *base;
  std::transform(type->begin(), type->end(), std::back_inserter(adapter.method),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  if (only && adapter.method != only)
    return config->error("peft_type", "is '" + *type + "'; an expert of a mixture can be a plain LoRA only");
  auto reader = readers.find(adapter.method);
  if (reader == readers.end())
    return config->error("peft_type",
                         "is '" + *type + "', which is not supported; LORA, POLY, SHIRA and XLORA are");
  // MoLA's code says LORA too.
  bool mola = adapter.method == "lora" && isMola(*tensors);
  if (mola && only)
    return Error{tensorFile + ": a mixture, and an expert of a mixture can be a plain LoRA only"};
  if (Status status = (mola ? readMola : reader->second)(*config, tensorFile, *tensors, adapter); !status)
    return status.error();
  if (Status status = hashFiles(adapter, {configFile, tensorFile}); !status)
    return status.error();
  return adapter;
}

Result<Adapter> readLoraFolder(const std::string &folder) { return readFolder(folder, "lora"); }

Result<Adapter> readAdapter(const std::string &path) {
  try {
    if (isDirectory(path))
      return readFolder(path);
    for (const std::string file : {"adapter_model.safetensors", "adapter.safetensors"}) {
      size_t start = path.size() >= file.size() ? path.size() - file.size() : std::string::npos;
      bool whole = start == 0 || (start != std::string::npos && path[start - 1] == '/');
      if (whole && path.substr(start) == file && exists(path))
        return readFolder(start ? path.substr(0, start) : ".");
    }
    return Error{path + (exists(path) ? ": no folder of an adapter" : ": does not exist")};
  } catch (const std::exception &exception) {
    return Error{path + ": cannot be read: " + exception.what()};
  }
}

} // namespace adapter::checkpoint
