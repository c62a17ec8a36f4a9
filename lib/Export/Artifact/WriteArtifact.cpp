// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The folder of an artifact, written beside its place and exchanged with it.
#include "lib/Export/Artifact/WriteArtifact.h"
#include "lib/Artifact/Chunks.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Checkpoint/Work.h"
#include <cerrno>
#include <filesystem>
#include <system_error>

using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Temporary;
namespace fs = std::filesystem;

Result<ArtifactFolder> ArtifactFolder::create(const std::string &path) {
  std::error_code error;
  if (fs::exists(path, error) &&
      (!fs::is_directory(path, error) || !fs::exists(path + "/manifest.pb", error)))
    return Error{"output '" + path + "' exists and is no artifact; remove it or name another output"};
  Result<Temporary> made = Temporary::folder(path);
  if (!made)
    return made.error();
  return ArtifactFolder(path, std::move(*made));
}

Status ArtifactFolder::writeTensors(const TensorFile &file, artifact::Manifest &manifest) {
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  std::string target = folder() + "/" + file.name;
  std::error_code error;
  fs::create_directories(fs::path(target).parent_path(), error);
  if (Status status = checkpoint::writeSafetensors(target, file.tensors); !status)
    return temporary.atTarget(status.error());
  Result<artifact::FileHash> hashes = artifact::hashTensorFile(target, file.name);
  if (!hashes)
    return hashes.error();
  *manifest.add_files() = std::move(*hashes);
  return Done{};
}

Status ArtifactFolder::commit(const std::string &manifest) {
  Result<std::string> hash = checkpoint::hashFile(folder() + "/code.so");
  if (!hash)
    return hash.error();
  if (Status status = checkpoint::writeFile(folder() + "/code.hash", *hash + "\n"); !status)
    return status;
  if (Status status = checkpoint::writeFile(folder() + "/manifest.pb", manifest); !status)
    return status;
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  std::error_code error;
  bool moved = fs::exists(path, error) ? temporary.exchangeWithTarget() : temporary.moveToTarget();
  if (!moved)
    return Error{path + ": cannot write: " + std::generic_category().message(errno)};
  return Done{};
}
