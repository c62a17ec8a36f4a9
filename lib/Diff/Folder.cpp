// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Folder.h.
#include "lib/Diff/Folder.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Checkpoint/Temporary.h"
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace adapter::diff {

using namespace checkpoint;

void addRanks(Json &config, const std::map<std::string, int64_t> &ranks) {
  int64_t rank = 1;
  for (const auto &[module, each] : ranks)
    rank = std::max(rank, each);
  config["r"] = config["lora_alpha"] = rank;
  config["target_modules"] = Json::array();
  config["rank_pattern"] = config["alpha_pattern"] = Json::object();
  for (const auto &[module, each] : ranks) {
    config["target_modules"].push_back(module);
    if (each == rank)
      continue;
    // Keys are regular expressions.
    std::string pattern;
    for (char c : module)
      pattern += c == '.' ? std::string("\\.") : std::string(1, c);
    config["rank_pattern"][pattern] = each;
    config["alpha_pattern"][pattern] = each;
  }
}

Status writeAdapter(const std::string &folder, const std::vector<Tensor> &tensors, const Json &config) {
  std::error_code code;
  if (std::filesystem::exists(folder, code) && !std::filesystem::is_empty(folder, code))
    return Error{folder + ": exists and is not an empty folder; name another"};
  std::filesystem::path parent = std::filesystem::path(folder).parent_path();
  if (!parent.empty())
    std::filesystem::create_directories(parent, code);
  Result<Temporary> made = Temporary::folder(folder);
  if (!made)
    return made.error();
  Status written = writeSafetensors(made->path() + "/adapter_model.safetensors", tensors, {{"format", "pt"}});
  if (written)
    written = writeFile(made->path() + "/adapter_config.json", config.dump(2) + "\n");
  if (!written)
    return written;
  return made->moveToTarget() ? Status(Done{})
                              : Status(Error{folder + ": cannot write: " + std::strerror(errno)});
}

} // namespace adapter::diff
