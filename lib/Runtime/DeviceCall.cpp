// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See DeviceCall.h.
#include "lib/Runtime/DeviceCall.h"
#include <algorithm>
#include <cstring>

namespace adapter::runtime {

// Kernels count elements in 32 bits, and step beyond the last one by as much as a launch has threads.
static constexpr int64_t mostElements = (int64_t{1} << 31) - (int64_t{1} << 25);

Result<PackedBank> packBank(const BankView &bank) {
  constexpr size_t words = ADAPTER_ENTRY_TENSORS + ADAPTER_ENTRY_EXTENTS;
  PackedBank packed;
  packed.table.assign(bank.entries->size() * words, -1);
  for (size_t number = 0; number < bank.entries->size(); ++number) {
    const adapter_entry_v1 &entry = (*bank.entries)[number];
    const EntrySizes &sizes = (*bank.sizes)[number];
    for (size_t i = 0; i < ADAPTER_ENTRY_TENSORS; ++i) {
      if (!entry.tensor[i])
        continue;
      size_t count = static_cast<size_t>(sizes.elements[i]);
      size_t place = sizes.integers[i] ? packed.table.size() : packed.numbers.size();
      if (static_cast<int64_t>(place + count) > mostElements)
        return Error{"the adapters of one module take more elements than a device's buffer can have"};
      packed.table[number * words + i] = static_cast<int32_t>(place);
      if (sizes.integers[i]) {
        const auto *from = static_cast<const int64_t *>(entry.tensor[i]);
        packed.table.insert(packed.table.end(), from, from + count);
      } else {
        const auto *from = static_cast<const float *>(entry.tensor[i]);
        packed.numbers.insert(packed.numbers.end(), from, from + count);
      }
    }
    for (size_t i = 0; i < ADAPTER_ENTRY_EXTENTS; ++i)
      packed.table[number * words + ADAPTER_ENTRY_TENSORS + i] = static_cast<int32_t>(entry.extent[i]);
  }
  return packed;
}

DeviceCall::DeviceCall(std::shared_ptr<Device> device, Inputs inputs)
    : device(std::move(device)), lock(this->device->mutex), inputs(std::move(inputs)),
      functions{sizeof(adapter_device_v1),
                ADAPTER_ABI_VERSION,
                this,
                allocate,
                release,
                write,
                read,
                parameter,
                rows,
                bank,
                launch} {
  attempt([&] { return this->device->enter(); });
}

DeviceCall::~DeviceCall() {
  for (void *buffer : buffers)
    device->release(buffer);
}

template <typename Step>
void DeviceCall::attempt(Step step) {
  if (!message.empty())
    return;
  try {
    if (Status status = step(); !status)
      message = status.error().message;
  } catch (...) {
    message = "out of memory";
  }
}

void *DeviceCall::uploaded(DeviceBuffer &place, const void *data, int64_t bytes) {
  attempt([&]() -> Status {
    if (place)
      return Done{};
    Result<DeviceBuffer> made = upload(device, data, bytes);
    if (!made)
      return made.error();
    place = std::move(*made);
    return Done{};
  });
  return place.get();
}

void *DeviceCall::allocate(void *state, int64_t elements, int64_t elementBytes) {
  auto *self = static_cast<DeviceCall *>(state);
  void *buffer = nullptr;
  self->attempt([&]() -> Status {
    if (elements < 0 || elements > mostElements)
      return Error{"a tensor has " + std::to_string(elements) + " elements; a device's buffer can have " +
                   std::to_string(mostElements)};
    Result<void *> made = self->device->allocate(elements * elementBytes);
    if (!made)
      return made.error();
    buffer = *made;
    self->buffers.insert(buffer);
    return Done{};
  });
  return buffer;
}

void DeviceCall::release(void *state, void *buffer) {
  auto *self = static_cast<DeviceCall *>(state);
  if (self->buffers.erase(buffer))
    self->device->release(buffer);
}

void DeviceCall::write(void *state, void *buffer, int64_t offset, const void *data, int64_t bytes) {
  auto *self = static_cast<DeviceCall *>(state);
  if (bytes > 0)
    self->attempt([&] { return self->device->write(buffer, offset, data, bytes); });
}

int32_t DeviceCall::read(void *state, void *buffer, int64_t offset, void *data, int64_t bytes) {
  auto *self = static_cast<DeviceCall *>(state);
  if (bytes > 0)
    self->attempt([&] { return self->device->read(buffer, offset, data, bytes); });
  if (self->message.empty())
    return 0;
  std::memset(data, 0, static_cast<size_t>(std::max<int64_t>(bytes, 0)));
  return 1;
}

void *DeviceCall::parameter(void *state, int64_t index) {
  auto *self = static_cast<DeviceCall *>(state);
  const Tensor &tensor = self->inputs.artifact->parameters[index];
  const void *data = (*self->inputs.parameters)[index];
  bool isPristine = data == self->inputs.artifact->pristine[index];
  self->attempt([&]() -> Status {
    if (tensor.elements() > mostElements)
      return Error{"the parameter '" + tensor.key + "' has more elements than a device's buffer can have"};
    return Done{};
  });
  DeviceTensors &tensors = isPristine ? *self->inputs.pristine : *self->inputs.changed;
  return self->uploaded(tensors.parameters[index], data, static_cast<int64_t>(tensor.bytes));
}

void *DeviceCall::rows(void *state) {
  auto *self = static_cast<DeviceCall *>(state);
  const std::vector<int32_t> &entries = *self->inputs.rowEntries;
  return self->uploaded(self->rowBuffer, entries.data(),
                        static_cast<int64_t>(entries.size() * sizeof(int32_t)));
}

void *DeviceCall::bank(void *state, int64_t bank, int32_t part) {
  auto *self = static_cast<DeviceCall *>(state);
  DeviceBuffer &wanted = self->inputs.changed->banks[{bank, part}];
  if (wanted)
    return wanted.get();
  PackedBank packed;
  self->attempt([&]() -> Status {
    Result<PackedBank> made = packBank(self->inputs.banks[bank]);
    if (!made)
      return made.error();
    packed = std::move(*made);
    return Done{};
  });
  self->uploaded(self->inputs.changed->banks[{bank, 0}], packed.numbers.data(),
                 static_cast<int64_t>(packed.numbers.size() * sizeof(float)));
  self->uploaded(self->inputs.changed->banks[{bank, 1}], packed.table.data(),
                 static_cast<int64_t>(packed.table.size() * sizeof(int32_t)));
  return wanted.get();
}

void DeviceCall::launch(void *state, int64_t kernel, int64_t groups, void *const *buffers,
                        const int32_t *scalars) {
  auto *self = static_cast<DeviceCall *>(state);
  const artifact::Device &description = self->inputs.artifact->manifest.device();
  if (groups <= 0)
    return; // nothing to do
  self->attempt([&]() -> Status {
    if (kernel < 0 || kernel >= description.kernels_size())
      return Error{"the compiled code asks for a kernel that is not there"};
    const artifact::Kernel &known = description.kernels(static_cast<int>(kernel));
    return self->device->launch(known, static_cast<int>(kernel), groups, buffers, scalars);
  });
}

} // namespace adapter::runtime
