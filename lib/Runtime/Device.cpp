// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What drivers have in common; see Device.h.
#include "lib/Runtime/Device.h"
#include <algorithm>
#include <dlfcn.h>

namespace adapter::runtime {

// Sizes are rounded up to an eighth of a power of two, so that buffers of similar sizes serve one another.
static int64_t roundSize(int64_t bytes) {
  int64_t step = 256;
  while (step * 16 <= bytes)
    step *= 2;
  return (std::max<int64_t>(bytes, 1) + step - 1) / step * step;
}

Result<void *> Device::allocate(int64_t bytes) {
  int64_t size = roundSize(bytes);
  auto kept = unused.find(size);
  if (kept != unused.end()) {
    void *buffer = kept->second;
    unused.erase(kept);
    return buffer;
  }
  Result<void *> made = create(size);
  if (!made && !unused.empty()) {
    // What is kept in other sizes makes room.
    for (const auto &[each, buffer] : unused) {
      destroy(buffer);
      sizes.erase(buffer);
    }
    unused.clear();
    made = create(size);
  }
  if (made)
    sizes[*made] = size;
  return made;
}

void Device::release(void *buffer) {
  auto known = sizes.find(buffer);
  if (known != sizes.end())
    unused.emplace(known->second, buffer);
}

void Device::destroyAll() {
  for (const auto &[buffer, size] : sizes)
    destroy(buffer);
  sizes.clear();
  unused.clear();
}

Result<std::shared_ptr<void>> loadDriver(const char *library, const std::string &target,
                                         const char *package) {
  void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return Error{"compiled for " + target + ", but this machine has no " + package + " (" + library +
                 " cannot be loaded)"};
  return std::shared_ptr<void>(handle, [](void *loaded) { dlclose(loaded); });
}

Result<std::shared_ptr<Device>> openDevice(const artifact::Device &description, DeviceCode code) {
  if (description.kernels_size() && (!code.data || !code.size))
    return Error{"the artifact holds no code for " + description.target()};
  if (description.format() == "spirv-vulkan")
    return openVulkan(description, code);
  if (description.format() == "ptx")
    return openCuda(description, code);
  if (description.format() == "hsaco")
    return openHip(description, code);
  return Error{"compiled for " + description.target() + ", which this runtime has no driver layer for"};
}

Result<DeviceBuffer> upload(const std::shared_ptr<Device> &device, const void *data, int64_t bytes) {
  Result<void *> buffer = device->allocate(bytes);
  if (!buffer)
    return buffer.error();
  DeviceBuffer owner(*buffer, [device](void *each) {
    // The last owner may be a model that is closed while others use the device.
    std::lock_guard<std::recursive_mutex> lock(device->mutex);
    device->release(each);
  });
  if (bytes)
    if (Status status = device->write(*buffer, 0, data, bytes); !status)
      return status.error();
  return owner;
}

} // namespace adapter::runtime
