// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// A device that runs an artifact's kernels, behind the driver that the machine has. Drivers are loaded when a
// model first needs one; nothing here is linked against them.
#ifndef ADAPTER_LIB_RUNTIME_DEVICE_H
#define ADAPTER_LIB_RUNTIME_DEVICE_H

#include "lib/Artifact/manifest.pb.h"
#include "lib/Checkpoint/Result.h"
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace adapter::runtime {

using checkpoint::Done;
using checkpoint::Error;
using checkpoint::Result;
using checkpoint::Status;

// Work happens in the order of the calls. Not thread-safe: who uses a device holds its mutex.
class Device {
public:
  virtual ~Device() = default;
  Device(const Device &) = delete;

  // To be called by each thread before it uses the device.
  virtual Status enter() { return Done{}; }
  // Contents are not defined. A released buffer is kept for another of its size.
  Result<void *> allocate(int64_t bytes);
  void release(void *buffer);
  virtual Status write(void *buffer, int64_t offset, const void *data, int64_t bytes) = 0;
  // Waits for everything before it.
  virtual Status read(void *buffer, int64_t offset, void *data, int64_t bytes) = 0;
  virtual Status launch(const artifact::Kernel &kernel, int number, int64_t groups, void *const *buffers,
                        const int32_t *scalars) = 0;
  // As the driver names it.
  virtual std::string name() const = 0;

  std::recursive_mutex mutex; // buffers may go back while their device is in use

protected:
  Device() = default;
  virtual Result<void *> create(int64_t bytes) = 0;
  virtual void destroy(void *buffer) = 0;
  // For destructors of those that implement the above: destroys every buffer.
  void destroyAll();

private:
  std::map<void *, int64_t> sizes;       // of all buffers
  std::multimap<int64_t, void *> unused; // by size
};

struct DeviceCode {
  const uint8_t *data;
  uint64_t size;
};

// Opens the first device that can run the code; an error says what this machine lacks.
Result<std::shared_ptr<Device>> openDevice(const artifact::Device &description, DeviceCode code);

// One for each driver.
Result<std::shared_ptr<Device>> openVulkan(const artifact::Device &description, DeviceCode code);
Result<std::shared_ptr<Device>> openCuda(const artifact::Device &description, DeviceCode code);
Result<std::shared_ptr<Device>> openHip(const artifact::Device &description, DeviceCode code);

// A driver's library, closed with the last copy.
Result<std::shared_ptr<void>> loadDriver(const char *library, const std::string &target, const char *package);

// A buffer that goes back to its device.
using DeviceBuffer = std::shared_ptr<void>;
Result<DeviceBuffer> upload(const std::shared_ptr<Device> &device, const void *data, int64_t bytes);

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_DEVICE_H
