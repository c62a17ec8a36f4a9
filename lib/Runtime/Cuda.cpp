// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Devices whose buffers are pointers: NVIDIA's through the CUDA driver, AMD's through HIP. The two interfaces
// differ in names, and in that CUDA has contexts.
#include "lib/Runtime/Device.h"
#include <algorithm>
#include <dlfcn.h>

namespace adapter::runtime {

namespace {

// The functions of a driver, in the form of CUDA's. A code other than 0 is an error.
struct Driver {
  using Pointer = uint64_t; // CUdeviceptr, hipDeviceptr_t
  int (*initialise)(unsigned flags);
  int (*countDevices)(int *count);
  int (*allocate)(Pointer *memory, size_t bytes);
  int (*free)(Pointer memory);
  int (*toDevice)(Pointer to, const void *from, size_t bytes);
  int (*toHost)(void *to, Pointer from, size_t bytes);
  int (*loadModule)(void **module, const void *image);
  int (*unloadModule)(void *module);
  int (*function)(void **function, void *module, const char *name);
  int (*launch)(void *function, unsigned gridX, unsigned gridY, unsigned gridZ, unsigned blockX,
                unsigned blockY, unsigned blockZ, unsigned shared, void *stream, void **arguments,
                void **extra);
  // CUDA alone.
  int (*device)(int *device, int number) = nullptr;
  int (*retainContext)(void **context, int device) = nullptr;
  int (*setContext)(void *context) = nullptr;
  int (*releaseContext)(int device) = nullptr;
  int (*errorText)(int code, const char **text) = nullptr;
  int (*deviceName)(char *name, int size, int device) = nullptr;
  // HIP alone.
  int (*setDevice)(int number) = nullptr;
  const char *(*errorString)(int code) = nullptr;
};

class Loader {
public:
  explicit Loader(void *library) : library(library) {}
  template <typename Function>
  void operator()(Function &function, const char *name) {
    function = reinterpret_cast<Function>(dlsym(library, name));
    if (!function && missing.empty())
      missing = name;
  }
  std::string missing;

private:
  void *library;
};

class PointerDevice final : public Device {
public:
  PointerDevice(std::shared_ptr<void> library, const Driver &driver, std::string target)
      : library(std::move(library)), driver(driver), target(std::move(target)) {}

  ~PointerDevice() override {
    (void)enter();
    destroyAll();
    if (module)
      driver.unloadModule(module);
    if (context)
      driver.releaseContext(number);
  }

  Status open(const artifact::Device &description, DeviceCode code) {
    int count = 0;
    if (Status status = check(driver.initialise(0), "the driver does not start"); !status)
      return status;
    if (Status status = check(driver.countDevices(&count), "devices cannot be counted"); !status)
      return status;
    if (!count)
      return Error{"compiled for " + target + ", but this machine has no such device"};
    if (driver.device) {
      if (Status status = check(driver.device(&number, 0), "the device cannot be used"); !status)
        return status;
      if (Status status = check(driver.retainContext(&context, number), "the device cannot be used"); !status)
        return status;
    }
    if (Status status = enter(); !status)
      return status;
    if (!description.kernels_size())
      return Done{};
    // PTX is text and ends with a zero.
    std::string image(reinterpret_cast<const char *>(code.data), code.size);
    if (Status status = check(driver.loadModule(&module, image.c_str()), "the kernels cannot be loaded");
        !status)
      return status;
    for (const artifact::Kernel &kernel : description.kernels()) {
      functions.emplace_back();
      std::string what = "there is no kernel '" + kernel.name() + "'";
      if (Status status =
              check(driver.function(&functions.back(), module, kernel.name().c_str()), what.c_str());
          !status)
        return status;
    }
    return Done{};
  }

  Status enter() override {
    return check(driver.setContext ? driver.setContext(context) : driver.setDevice(0), "the device is lost");
  }

  Status write(void *buffer, int64_t offset, const void *data, int64_t bytes) override {
    return check(driver.toDevice(address(buffer) + offset, data, bytes), "copying to the device failed");
  }

  Status read(void *buffer, int64_t offset, void *data, int64_t bytes) override {
    return check(driver.toHost(data, address(buffer) + offset, bytes), "copying from the device failed");
  }

  Status launch(const artifact::Kernel &kernel, int index, int64_t groups, void *const *buffers,
                const int32_t *scalars) override {
    std::vector<Driver::Pointer> pointers;
    for (int i = 0; i < kernel.buffers(); ++i)
      pointers.push_back(address(buffers[i]));
    std::vector<void *> arguments;
    for (Driver::Pointer &pointer : pointers)
      arguments.push_back(&pointer);
    for (int i = 0; i < kernel.scalars(); ++i)
      arguments.push_back(const_cast<int32_t *>(scalars + i));
    int code =
        driver.launch(functions[index], static_cast<unsigned>(groups), 1, 1,
                      static_cast<unsigned>(kernel.threads()), 1, 1, 0, nullptr, arguments.data(), nullptr);
    return check(code, "a kernel could not be launched");
  }

  std::string name() const override {
    char text[256] = "";
    if (driver.deviceName && driver.deviceName(text, sizeof text, number) == 0)
      return text;
    return target;
  }

protected:
  Result<void *> create(int64_t bytes) override {
    Driver::Pointer pointer = 0;
    if (Status status = check(driver.allocate(&pointer, bytes), "the device is out of memory"); !status)
      return status.error();
    return reinterpret_cast<void *>(pointer);
  }

  void destroy(void *buffer) override { driver.free(address(buffer)); }

private:
  static Driver::Pointer address(void *buffer) { return reinterpret_cast<Driver::Pointer>(buffer); }

  Status check(int code, const char *what) const {
    if (code == 0)
      return Done{};
    const char *text = nullptr;
    if (driver.errorText)
      (void)driver.errorText(code, &text);
    else
      text = driver.errorString(code);
    return Error{target + ": " + what + ": " + (text ? text : "error " + std::to_string(code))};
  }

  std::shared_ptr<void> library;
  Driver driver;
  std::string target;
  int number = 0;
  void *context = nullptr, *module = nullptr;
  std::vector<void *> functions;
};

Result<std::shared_ptr<Device>> open(std::shared_ptr<void> library, const Driver &driver,
                                     const Loader &loader, const artifact::Device &description,
                                     DeviceCode code) {
  if (!loader.missing.empty())
    return Error{"the driver for " + description.target() + " is too old: it lacks " + loader.missing};
  auto device = std::make_shared<PointerDevice>(std::move(library), driver, description.target());
  if (Status status = device->open(description, code); !status)
    return status.error();
  return std::shared_ptr<Device>(std::move(device));
}

} // namespace

Result<std::shared_ptr<Device>> openCuda(const artifact::Device &description, DeviceCode code) {
  Result<std::shared_ptr<void>> library = loadDriver("libcuda.so.1", description.target(), "NVIDIA driver");
  if (!library)
    return library.error();
  Driver driver;
  Loader load(library->get());
  load(driver.initialise, "cuInit");
  load(driver.countDevices, "cuDeviceGetCount");
  load(driver.allocate, "cuMemAlloc_v2");
  load(driver.free, "cuMemFree_v2");
  load(driver.toDevice, "cuMemcpyHtoD_v2");
  load(driver.toHost, "cuMemcpyDtoH_v2");
  load(driver.loadModule, "cuModuleLoadData");
  load(driver.unloadModule, "cuModuleUnload");
  load(driver.function, "cuModuleGetFunction");
  load(driver.launch, "cuLaunchKernel");
  load(driver.device, "cuDeviceGet");
  load(driver.retainContext, "cuDevicePrimaryCtxRetain");
  load(driver.setContext, "cuCtxSetCurrent");
  load(driver.releaseContext, "cuDevicePrimaryCtxRelease_v2");
  load(driver.errorText, "cuGetErrorString");
  load(driver.deviceName, "cuDeviceGetName");
  return open(std::move(*library), driver, load, description, code);
}

Result<std::shared_ptr<Device>> openHip(const artifact::Device &description, DeviceCode code) {
  Result<std::shared_ptr<void>> library =
      loadDriver("libamdhip64.so", description.target(), "HIP runtime of AMD");
  if (!library)
    return library.error();
  Driver driver;
  Loader load(library->get());
  load(driver.initialise, "hipInit");
  load(driver.countDevices, "hipGetDeviceCount");
  load(driver.allocate, "hipMalloc");
  load(driver.free, "hipFree");
  load(driver.toDevice, "hipMemcpyHtoD");
  load(driver.toHost, "hipMemcpyDtoH");
  load(driver.loadModule, "hipModuleLoadData");
  load(driver.unloadModule, "hipModuleUnload");
  load(driver.function, "hipModuleGetFunction");
  load(driver.launch, "hipModuleLaunchKernel");
  load(driver.setDevice, "hipSetDevice");
  load(driver.errorString, "hipGetErrorString");
  return open(std::move(*library), driver, load, description, code);
}

} // namespace adapter::runtime
