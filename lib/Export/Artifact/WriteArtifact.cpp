// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The folder of an artifact, written beside its place and exchanged with it.
#include "lib/Export/Artifact/WriteArtifact.h"
#include "lib/Artifact/Chunks.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Checkpoint/Work.h"
#include <cstdio>
#include <fcntl.h>
#include <filesystem>
#include <system_error>
#include <unistd.h>

using namespace adapter;
using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;
namespace fs = std::filesystem;

Result<ArtifactFolder> ArtifactFolder::create(const std::string &path) {
  std::error_code error;
  if (fs::exists(path, error) &&
      (!fs::is_directory(path, error) || !fs::exists(path + "/manifest.pb", error)))
    return Error{"output '" + path + "' exists and is no artifact; remove it or name another output"};
  std::string temporary = path;
  while (temporary.size() > 1 && temporary.back() == '/')
    temporary.pop_back();
  temporary += ".tmp" + std::to_string(::getpid());
  if (!fs::create_directory(temporary, error))
    return Error{"cannot create '" + temporary + "': " + error.message()};
  if (checkpoint::Work *work = checkpoint::currentWork())
    work->note(temporary);
  return ArtifactFolder(path, temporary);
}

ArtifactFolder::ArtifactFolder(std::string path, std::string temporary)
    : path(std::move(path)), temporary(std::move(temporary)) {}

ArtifactFolder::ArtifactFolder(ArtifactFolder &&other) : path(other.path), temporary(other.temporary) {
  other.temporary.clear();
}

ArtifactFolder::~ArtifactFolder() {
  std::error_code ignored;
  if (!temporary.empty())
    fs::remove_all(temporary, ignored);
  if (checkpoint::Work *work = checkpoint::currentWork(); work && !temporary.empty())
    work->forget(temporary);
}

Status ArtifactFolder::writeTensors(const TensorFile &file, artifact::Manifest &manifest) {
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  std::string target = temporary + "/" + file.name;
  std::error_code error;
  fs::create_directories(fs::path(target).parent_path(), error);
  if (Status status = checkpoint::writeSafetensors(target, file.tensors); !status)
    return status;
  Result<artifact::FileHash> hashes = artifact::hashTensorFile(target, file.name);
  if (!hashes)
    return hashes.error();
  *manifest.add_files() = std::move(*hashes);
  return Done{};
}

static Status writeFile(const std::string &path, const std::string &bytes) {
  Result<std::unique_ptr<checkpoint::AtomicFile>> file = checkpoint::AtomicFile::create(path);
  if (!file)
    return file.error();
  if (Status status = (*file)->write(bytes.data(), bytes.size()); !status)
    return status;
  return (*file)->commit();
}

Status ArtifactFolder::commit(const std::string &manifest) {
  Result<std::string> hash = checkpoint::hashFile(temporary + "/code.so");
  if (!hash)
    return hash.error();
  if (Status status = writeFile(temporary + "/code.hash", *hash + "\n"); !status)
    return status;
  if (Status status = writeFile(temporary + "/manifest.pb", manifest); !status)
    return status;
  if (checkpoint::isCancelled())
    return checkpoint::cancelledError();
  std::error_code error;
  if (!fs::exists(path, error)) {
    fs::rename(temporary, path, error);
    if (error)
      return Error{"cannot move the artifact to '" + path + "': " + error.message()};
    if (checkpoint::Work *work = checkpoint::currentWork())
      work->forget(temporary);
    temporary.clear();
    return Done{};
  }
  // The old artifact leaves under the temporary name, and the destructor removes it.
  if (::renameat2(AT_FDCWD, temporary.c_str(), AT_FDCWD, path.c_str(), RENAME_EXCHANGE) != 0)
    return Error{"cannot exchange '" + path + "' with the new artifact"};
  return Done{};
}
