// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See InputFiles.h.
#include "lib/RunTool/InputFiles.h"
#include "lib/Checkpoint/Npy.h"
#include "lib/Checkpoint/Text.h"
#include <algorithm>

namespace adapter::runtool {

using checkpoint::Error;
using checkpoint::NpzFile;
using checkpoint::Result;
using checkpoint::Status;
using checkpoint::Tensor;

bool isArchive(const std::string &path) { return checkpoint::endsWith(path, ".npz"); }

// The number of the array that `name` is to have of an archive.
static Result<size_t> choose(const NpzFile &archive, const std::string &name, const std::string &path) {
  const std::vector<std::string> &names = archive.names();
  size_t found = std::find(names.begin(), names.end(), name) - names.begin();
  if (found < names.size())
    return found;
  if (names.size() == 1)
    return size_t(0);
  std::string known;
  for (const std::string &each : names)
    known += (known.empty() ? "" : ", ") + each;
  std::string guess = checkpoint::didYouMean(name, names);
  return Error{path + ": there is no array '" + name + "'" + guess + (guess.empty() ? "; " : " ") +
               "the arrays are: " + (known.empty() ? "none" : known)};
}

Result<std::vector<Tensor>> readInputs(const std::string &name, const std::string &path) {
  std::vector<Tensor> inputs;
  auto take = [&](Result<Tensor> tensor, const std::string &key) -> Status {
    if (!tensor)
      return tensor.error();
    tensor->key = key;
    inputs.push_back(std::move(*tensor));
    return checkpoint::Done{};
  };
  if (!isArchive(path)) {
    Status status = take(checkpoint::readNpy(path), name);
    return status ? Result<std::vector<Tensor>>(std::move(inputs)) : status.error();
  }
  Result<NpzFile> archive = NpzFile::open(path);
  if (!archive)
    return archive.error();
  if (!name.empty()) {
    Result<size_t> number = choose(*archive, name, path);
    if (!number)
      return number.error();
    Status status = take(archive->read(*number), name);
    return status ? Result<std::vector<Tensor>>(std::move(inputs)) : status.error();
  }
  for (size_t number = 0; number < archive->names().size(); ++number)
    if (Status status = take(archive->read(number), archive->names()[number]); !status)
      return status.error();
  return inputs;
}

std::string complaintOfOutput(const std::string &path, size_t count) {
  if (isArchive(path))
    return "";
  if (!checkpoint::endsWith(path, ".npy"))
    return path + ": outputs are written to an .npz file, or a single one to an .npy file";
  if (count < 2)
    return "";
  return path + ": an .npy file holds one output, and the model has " + std::to_string(count) +
         "; name an .npz file";
}

Status writeOutputs(const std::string &path, const std::vector<Tensor> &outputs) {
  if (isArchive(path))
    return checkpoint::writeNpz(path, outputs);
  if (outputs.empty())
    return Error{path + ": the model has no output"};
  return checkpoint::writeNpy(path, outputs.front());
}

} // namespace adapter::runtool
