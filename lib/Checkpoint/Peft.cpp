// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// PEFT's folders: hands them to the reader of their method.
#include "lib/Checkpoint/AdapterTensors.h"
#include "lib/Checkpoint/Formats.h"
#include "lib/Checkpoint/OwnForm.h"
#include <algorithm>
#include <map>

namespace adapter::checkpoint {

// By peft_type in lower case.
static const std::map<std::string, decltype(&readPeftLora)> readers = {
    {"lora", readPeftLora},
    {"poly", readPeftPoly},
    {"shira", readPeftShira},
    {"adapter_opt_form", readOwnForm},
    {"adapter_opt_sparse", readSparseFolder},
    {"adapter_opt_mixture", readMixture},
    {"xlora", readXlora},
    {"adapter_opt_mosa", readMosa}};

static std::string lowerCase(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

static std::string supportedTypes() {
  std::vector<std::string> types = peftFormTypes();
  for (const char *type : {"lora", "poly", "shira", "xlora"})
    types.push_back(type);
  std::sort(types.begin(), types.end());
  std::string list;
  for (size_t i = 0; i < types.size(); ++i) {
    std::string upper = types[i];
    std::transform(upper.begin(), upper.end(), upper.begin(),
                   [](unsigned char c) { return std::toupper(c); });
    list += (i == 0 ? "" : i + 1 == types.size() ? " and " : ", ") + upper;
  }
  return list;
}

Result<Adapter> readPeft(const PeftConfig &config, const std::string &folder, const std::string &tensorFile,
                         const char *only) {
  Result<std::string> type = config.text("peft_type"), base = config.text("base_model_name_or_path");
  if (!type)
    return type.error();
  if (!base)
    return base.error();
  if (type->empty())
    return config.error("peft_type", "is missing");
  Result<Safetensors> tensors = readAdapterTensors(tensorFile);
  if (!tensors)
    return tensors.error();

  Adapter adapter;
  adapter.path = folder;
  adapter.baseModel = *base;
  for (auto [field, into] :
       {std::pair("revision", &adapter.baseRevision), {"base_digest", &adapter.baseDigest}}) {
    Result<std::string> text = config.text(field);
    if (!text)
      return text.error();
    *into = *text;
  }
  // Only a word in a message.
  if (auto mapping = config.fields().find("auto_mapping"); mapping != config.fields().end())
    if (mapping->is_object() && mapping->contains("base_model_class") &&
        (*mapping)["base_model_class"].is_string())
      adapter.baseClass = (*mapping)["base_model_class"];
  adapter.method = lowerCase(*type);
  if (only && adapter.method != only)
    return config.error("peft_type", "is '" + *type + "'; an expert of a mixture can be a plain LoRA only");
  auto own = readers.find(adapter.method);
  std::vector<std::string> forms = peftFormTypes();
  bool isForm = std::find(forms.begin(), forms.end(), adapter.method) != forms.end();
  if (adapter.method == "psoft" || adapter.method == "adamss")
    return config.error("peft_type",
                        "is '" + *type +
                            "', whose folder leaves out what PEFT computes from the base's weights when "
                            "it loads it; load it with PEFT and write it with ao.resolve(model, folder)");
  if (own == readers.end() && !isForm)
    return config.error("peft_type",
                        "is '" + *type + "', which is not supported; " + supportedTypes() + " are");
  auto *reader = isForm ? readPeftForm : own->second;
  // MoLA's code says LORA too.
  bool mola = adapter.method == "lora" && isMola(*tensors);
  if (mola && only)
    return Error{tensorFile + ": a mixture, and an expert of a mixture can be a plain LoRA only"};
  if (Status status = (mola ? readMola : reader)(config, tensorFile, *tensors, adapter); !status)
    return status.error();
  if (Status status = hashFiles(adapter, {config.path(), tensorFile}); !status)
    return status.error();
  return adapter;
}

} // namespace adapter::checkpoint
