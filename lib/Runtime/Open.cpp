// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Opening artifacts; see Sources.h.
#include "lib/Checkpoint/DType.h"
#include "lib/Checkpoint/File.h"
#include "lib/Checkpoint/Hash.h"
#include "lib/Checkpoint/Safetensors.h"
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Sources.h"
#include <algorithm>
#include <cstring>
#include <sys/stat.h>
#include <unordered_map>

namespace adapter::runtime {

using checkpoint::Hasher;
using checkpoint::MappedFile;
using checkpoint::Safetensors;

namespace {

Status checkSizes(const Artifact &artifact) {
  for (const artifact::FileHash &file : artifact.manifest.files()) {
    std::string path = artifact.folder + "/" + file.file();
    struct stat status;
    if (stat(path.c_str(), &status) || !S_ISREG(status.st_mode))
      return Error{path + ": missing"};
    if (static_cast<uint64_t>(status.st_size) != file.size())
      return Error{path + ": has " + std::to_string(status.st_size) + " bytes instead of " +
                   std::to_string(file.size()) + "; the artifact is damaged"};
  }
  return Done{};
}

// Maps a file of tensors. Its header is compared with its hashes, so that what it says about tensors is true.
Status mapTensors(Artifact &artifact, const artifact::FileHash &hashes) {
  std::string path = artifact.folder + "/" + hashes.file();
  Result<Safetensors> file = checkpoint::readSafetensors(path, /*keepDescriptor=*/true);
  if (!file)
    return Error{file.error().message + "; the artifact is damaged"};
  CheckedFile checked{path, file->file.descriptor, {}, hashes.hashes(), {}};
  checked.lengths.assign(hashes.lengths().begin(), hashes.lengths().end());
  for (const Tensor &tensor : file->tensors)
    checked.tensors.emplace_back(tensor.data - file->file.data, tensor.key);
  size_t number = artifact.check->add(std::move(checked));
  uint64_t headerBytes = 0;
  std::memcpy(&headerBytes, file->file.data, sizeof headerBytes);
  artifact.tensorFiles.push_back(std::move(*file));
  return artifact.check->finish(number, sizeof headerBytes + headerBytes);
}

// A file that was compared as a whole.
void addWhole(FileCheck &check, const std::string &path, const MappedFile &file) {
  Hasher hasher;
  hasher.add(file.data, file.size);
  check.add({path, file.descriptor, {file.size}, hasher.digest(), {}});
}

Status placeParameters(Artifact &artifact) {
  if (artifact.manifest.parameters().empty())
    return Done{};
  std::string path = artifact.folder + "/" + parameterFile;
  const Safetensors &file = artifact.tensorFiles[fileNumber(artifact.manifest, parameterFile)];
  std::unordered_map<std::string, const Tensor *> byName;
  for (const Tensor &tensor : file.tensors)
    byName[tensor.key] = &tensor;
  for (const artifact::Parameter &parameter : artifact.manifest.parameters()) {
    auto it = byName.find(parameter.name());
    if (it == byName.end())
      return Error{path + ": lacks tensor '" + parameter.name() + "'"};
    const Tensor &tensor = *it->second;
    if (static_cast<int32_t>(tensor.dtype) != parameter.dtype() ||
        !std::equal(tensor.shape.begin(), tensor.shape.end(), parameter.dims().begin(),
                    parameter.dims().end()))
      return Error{path + ": tensor '" + parameter.name() +
                   "' has another type or shape than the manifest says"};
    Tensor placed = tensor;
    if (reinterpret_cast<uintptr_t>(tensor.data) % 64 && tensor.bytes) {
      placed = checkpoint::allocateTensor(tensor.dtype, tensor.shape);
      std::memcpy(checkpoint::mutableData(placed), tensor.data, tensor.bytes);
    }
    artifact.pristine.push_back(placed.data);
    artifact.parameters.push_back(std::move(placed));
  }
  return Done{};
}

} // namespace

size_t fileNumber(const artifact::Manifest &manifest, const std::string &name) {
  int number = 0;
  while (number < manifest.files_size() && manifest.files(number).file() != name)
    ++number;
  return static_cast<size_t>(number);
}

Result<std::shared_ptr<const Artifact>> openArtifact(const std::string &folder, bool checks) {
  if (!checkpoint::isDirectory(folder))
    return Error{folder + (checkpoint::exists(folder) ? ": no artifact: not a folder" : ": does not exist")};
  std::string manifestPath = folder + "/manifest.pb";
  if (!checkpoint::exists(manifestPath) || !checkpoint::exists(folder + "/code.so"))
    return Error{folder + ": no artifact: it lacks manifest.pb or code.so; expected what `adapter-opt -o "
                          "model.adapt` writes"};
  Result<MappedFile> bytes = checkpoint::mapFile(manifestPath, /*keepDescriptor=*/true);
  if (!bytes)
    return bytes.error();
  // The manifest stands first, since it says whether this machine can run the code at all.
  Result<artifact::Manifest> manifest = parseManifest(bytes->data, bytes->size, UINT32_MAX, manifestPath);
  if (!manifest)
    return manifest.error();
  if (Status status = checkMachine(*manifest, folder); !status)
    return status.error();
  Result<Code> code = loadCode(folder);
  if (!code)
    return code.error();
  if (code->table->manifest_size != bytes->size ||
      std::memcmp(code->table->manifest, bytes->data, bytes->size) != 0)
    return Error{manifestPath + ": differs from the manifest in code.so; the artifact is damaged"};
  manifest = parseManifest(bytes->data, bytes->size, code->table->function_count, manifestPath);
  if (!manifest)
    return manifest.error();

  auto artifact = std::make_shared<Artifact>();
  artifact->folder = folder;
  artifact->manifest = std::move(*manifest);
  artifact->code = std::move(*code);
  for (const artifact::Site &site : artifact->manifest.sites()) {
    artifact->banks = std::max(artifact->banks, site.bank() + 1);
    for (const artifact::SiteForm &form : site.forms())
      artifact->looksAtRows |= form.bottleneck().gate();
  }
  if (Status status = checkSizes(*artifact); !status)
    return status.error();
  artifact->check = std::make_shared<FileCheck>();
  for (const artifact::FileHash &file : artifact->manifest.files())
    if (Status status = mapTensors(*artifact, file); !status)
      return status.error();
  addWhole(*artifact->check, manifestPath, *bytes);
  addWhole(*artifact->check, folder + "/code.so", artifact->code.file);
  addWhole(*artifact->check, folder + "/code.hash", artifact->code.hash);
  if (Status status = placeParameters(*artifact); !status)
    return status.error();
  if (checks)
    artifact->check->start();
  return std::shared_ptr<const Artifact>(std::move(artifact));
}

} // namespace adapter::runtime
