// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See Touched.h.
#include "lib/Runtime/Touched.h"
#include "lib/Checkpoint/DType.h"
#include "lib/Runtime/Manifest.h"
#include "lib/Runtime/Realise.h"
#include <cstring>

namespace adapter::runtime {

Status TouchedCopies::run(int function, const SiteUpdate &update, double scale, void *weights) {
  const Tensor &pristine = artifact->parameters[artifact->manifest.sites(update.site).parameter()];
  auto view = [](void *data, const Tensor &tensor) {
    return adapter_tensor_v1{data, tensor.shape.data(), static_cast<int32_t>(tensor.shape.size()),
                             static_cast<int32_t>(tensor.dtype)};
  };
  std::vector<adapter_tensor_v1> inputs{view(weights, pristine),
                                        view(const_cast<std::byte *>(pristine.data), pristine)};
  for (const Tensor &tensor : update.tensors)
    inputs.push_back(view(const_cast<std::byte *>(tensor.data), tensor));
  NumberInputs numbers;
  appendNumbers(update, scale, numbers, inputs);
  adapter_call_v1 call = {};
  call.inputs = inputs.data();
  call.input_count = static_cast<int64_t>(inputs.size());
  call.parameters = artifact->pristine.data();
  Result<std::vector<Output>> done = invoke(resources, artifact->code.table->functions[function], call, {});
  return done ? Status(Done{}) : Status(done.error());
}

Status TouchedCopies::applyInPlace(const SiteUpdate &update, double scale, void *weights) {
  const artifact::SiteForm &form = artifact->manifest.sites(update.site).forms(update.form);
  return run(form.touch() - 1, update, scale * update.scale, weights);
}

// A copy that holds the pristine bytes.
Result<TouchedCopies::Copy> TouchedCopies::pristineCopy(int parameter, const SiteUpdate &update) {
  Copy copy;
  {
    std::lock_guard<std::mutex> lock(mutex);
    std::vector<Copy> &copies = idle[parameter];
    if (!copies.empty()) {
      copy = std::move(copies.back());
      copies.pop_back();
    }
  }
  if (copy.memory) {
    const artifact::SiteForm &form = artifact->manifest.sites(copy.update.site).forms(copy.update.form);
    if (Status status = run(form.restore() - 1, copy.update, copy.scale, copy.memory.get()); !status)
      return status.error();
    return copy;
  }
  const Tensor &pristine = artifact->parameters[parameter];
  const checkpoint::MappedFile &file =
      artifact->tensorFiles[fileNumber(artifact->manifest, parameterFile)].file;
  if (pristine.data >= file.data && pristine.data < file.data + file.size)
    copy.memory = checkpoint::mapPrivately(file, pristine.data, pristine.bytes);
  if (!copy.memory) {
    copy.memory = takeShared(resources.cache, static_cast<int64_t>(pristine.bytes));
    if (!copy.memory)
      return Error{"out of memory for a copy of '" + siteName(artifact->manifest.sites(update.site)) + "'"};
    std::memcpy(copy.memory.get(), pristine.data, pristine.bytes);
  }
  return copy;
}

Result<std::shared_ptr<void>> TouchedCopies::apply(const SiteUpdate &update, double scale) {
  int parameter = artifact->manifest.sites(update.site).parameter();
  Result<Copy> copy = pristineCopy(parameter, update);
  if (!copy)
    return copy.error();
  if (Status status = applyInPlace(update, scale, copy->memory.get()); !status)
    return status.error();
  copy->update = update;
  copy->scale = scale;
  void *data = copy->memory.get();
  auto back = [home = weak_from_this(), parameter, held = std::move(*copy)](void *) mutable {
    if (std::shared_ptr<TouchedCopies> copies = home.lock()) {
      std::lock_guard<std::mutex> lock(copies->mutex);
      copies->idle[parameter].push_back(std::move(held));
    }
  };
  return std::shared_ptr<void>(data, std::move(back));
}

} // namespace adapter::runtime
