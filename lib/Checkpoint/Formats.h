// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The formats that readAdapter tells apart by what is in a file or folder. Each reader adds a file's updates to an
// adapter, all of them or an error.
#ifndef ADAPTER_LIB_CHECKPOINT_FORMATS_H
#define ADAPTER_LIB_CHECKPOINT_FORMATS_H

#include "lib/Checkpoint/PeftConfig.h"
#include "lib/Checkpoint/Safetensors.h"
#include <string>
#include <string_view>
#include <vector>

namespace adapter::checkpoint {

// Folders with an adapter_config.json, and safetensors files beside one. With `only`, a folder of another method is an
// error.
Result<Adapter> readPeft(const PeftConfig &config, const std::string &folder, const std::string &tensorFile,
                         const char *only = nullptr);
bool isMlx(const PeftConfig &config);
Status readMlx(const PeftConfig &config, const std::string &file, const Safetensors &tensors,
               Adapter &adapter);

// Safetensors files without a configuration.
bool isKohya(const Safetensors &tensors);
Status readKohya(const std::string &file, const Safetensors &tensors, Adapter &adapter);
bool isDiffusers(const Safetensors &tensors);
Status readDiffusers(const std::string &file, const Safetensors &tensors, Adapter &adapter);

// `files` gets those that were read beside the file itself.
bool isGguf(std::string_view bytes);
Status readGgufLora(const std::string &file, Adapter &adapter, std::vector<std::string> &files);
bool isOnnxAdapter(std::string_view bytes);
Status readOnnxAdapter(const std::string &file, Adapter &adapter);

// What a file or folder is that is not an adapter, and what to do about it.
Error describeFile(const std::string &path, std::string_view bytes);
Error describeTensors(const std::string &file, const Safetensors &tensors);
Error describeFolder(const std::string &folder, const std::vector<std::string> &names);
// That a pickle is never read, and the command that makes the file `target` of it.
Error describePickle(const std::string &file, const std::string &target);

// The hash of an adapter: that of files, and of what is in it already.
Status hashFiles(Adapter &adapter, const std::vector<std::string> &files);

} // namespace adapter::checkpoint

#endif // ADAPTER_LIB_CHECKPOINT_FORMATS_H
