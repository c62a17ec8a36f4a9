// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// adapter_config.json of PEFT: typed access, and PEFT's rules for which module a setting is about.
#ifndef ADAPTER_LIB_CHECKPOINT_PEFTCONFIG_H
#define ADAPTER_LIB_CHECKPOINT_PEFTCONFIG_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/Safetensors.h"
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace adapter::checkpoint {

class PeftConfig {
public:
  static Result<PeftConfig> read(const std::string &path);
  // Of an object that was read already; `path` names it in messages.
  PeftConfig(std::string path, Json object) : file(std::move(path)), json(std::move(object)) {}

  // What a field of type object holds, as a configuration of the same file.
  PeftConfig part(const std::string &field) const { return with(json.at(field)); }
  // Other fields, as a configuration of the same file.
  PeftConfig with(Json fields) const { return PeftConfig(file, std::move(fields)); }

  const std::string &path() const { return file; }
  const Json &fields() const { return json; }
  // "<file>: field 'name' <problem>"
  Error error(const std::string &field, const std::string &problem) const;

  bool isSet(const std::string &field) const; // there, and neither null, false nor empty
  Result<bool> boolean(const std::string &field) const;
  Result<double> number(const std::string &field, double missing) const;
  Result<int64_t> count(const std::string &field, int64_t missing) const; // a positive whole number
  Result<std::string> text(const std::string &field) const;
  Result<std::vector<std::string>> names(const std::string &field) const; // a list, or one name alone

  // The value of a pattern dictionary for a module: that of the first key k for which (.*\.)?(k)$ matches, or `missing`.
  // Keys that cannot be read as regular expressions may match or not, so that there can be several.
  Result<std::vector<double>> pattern(const std::string &field, const std::string &module,
                                      double missing) const;

  // Whether target_modules, exclude_modules, layers_to_transform and layers_pattern let an adapter act on
  // the module; the reason why not, or an empty text. Regular expressions that cannot be read here count as naming
  // it: the tensors say which modules there are, this is a check of them.
  Result<std::string> whyNotTarget(const std::string &module) const;
  // Whether a path lies in a module that modules_to_save names, by PEFT's rule: some leading part of the
  // path ends with an entry.
  Result<bool> isSaved(const std::string &path) const;

private:
  // Nothing where the expression cannot be read.
  Result<std::optional<bool>> namesModule(const std::string &field, const std::string &module) const;
  Result<bool> layerSelected(const std::string &module) const;

  std::string file;
  Json json;
};

// The readers of the methods, each of one peft_type.
Status readPeftLora(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter);
Status readPeftPoly(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter);
Status readPeftShira(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                     Adapter &adapter);
// The methods whose forms are definitions; see PeftForms.cpp.
Status readPeftForm(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                    Adapter &adapter);
// Their names, peft_type in lower case.
std::vector<std::string> peftFormTypes();
Status readSparseFolder(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                        Adapter &adapter);
Status readMixture(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                   Adapter &adapter);
// Whether the tensors of a LORA folder are MoLA's.
bool isMola(const Safetensors &tensors);
Status readMola(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                Adapter &adapter);
Status readXlora(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                 Adapter &adapter);
Status readMosa(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
                Adapter &adapter);

// The rows of a module's embedding by ascending index, into `update`, which is tied where it was only if all modules
// have the same indices; `field` holds them.
Status readTokenRows(const PeftConfig &config, const std::string &file, const std::string &path,
                     const Tensor &rows, Update &update,
                     const std::string &field = "trainable_token_indices");

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_PEFTCONFIG_H
