// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// See VulkanApi.h.
#include "lib/Runtime/VulkanApi.h"
#include "lib/Runtime/Device.h"
#include <dlfcn.h>

namespace adapter::runtime {

VulkanApi::~VulkanApi() {
  if (device)
    DestroyDevice(device, nullptr);
  if (instance)
    DestroyInstance(instance, nullptr);
}

Status VulkanApi::open(const std::string &target) {
  Result<std::shared_ptr<void>> loaded = loadDriver("libvulkan.so.1", target, "Vulkan loader");
  if (!loaded)
    return loaded.error();
  library = std::move(*loaded);
  auto getInstance =
      reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library.get(), "vkGetInstanceProcAddr"));
  auto create = getInstance ? reinterpret_cast<PFN_vkCreateInstance>(getInstance(nullptr, "vkCreateInstance"))
                            : nullptr;
  if (!create)
    return Error{target + ": the Vulkan loader is none"};
  auto application = structure<VkApplicationInfo>(VK_STRUCTURE_TYPE_APPLICATION_INFO);
  application.apiVersion = VK_API_VERSION_1_2;
  auto info = structure<VkInstanceCreateInfo>(VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO);
  info.pApplicationInfo = &application;
  if (create(&info, nullptr, &instance) != VK_SUCCESS) {
    instance = VK_NULL_HANDLE;
    return Error{"compiled for " + target +
                 ", but this machine has no driver for it that Vulkan's loader finds"};
  }
#define ADAPTER_VULKAN_LOAD(NAME)                                                                            \
  NAME = reinterpret_cast<PFN_vk##NAME>(getInstance(instance, "vk" #NAME));                                  \
  if (!NAME)                                                                                                 \
    return Error{target + ": the Vulkan loader lacks vk" #NAME};
  ADAPTER_VULKAN_INSTANCE(ADAPTER_VULKAN_LOAD)
#undef ADAPTER_VULKAN_LOAD
  if (Status status = choose(target); !status)
    return status;
  return createDevice();
}

static int rankOf(VkPhysicalDeviceType type) {
  switch (type) {
  case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
    return 4;
  case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
    return 3;
  case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
    return 2;
  default:
    return 1;
  }
}

Status VulkanApi::choose(const std::string &target) {
  uint32_t count = 0;
  EnumeratePhysicalDevices(instance, &count, nullptr);
  std::vector<VkPhysicalDevice> devices(count);
  EnumeratePhysicalDevices(instance, &count, devices.data());
  int best = 0;
  std::string names;
  for (uint32_t i = 0; i < count; ++i) {
    VkPhysicalDeviceProperties each;
    GetPhysicalDeviceProperties(devices[i], &each);
    names += (names.empty() ? "" : ", ") + std::string(each.deviceName);
    if (each.apiVersion < VK_API_VERSION_1_2)
      continue;
    auto narrow =
        structure<VkPhysicalDeviceVulkan12Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
    VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &narrow, {}};
    GetPhysicalDeviceFeatures2(devices[i], &features);
    if (!features.features.shaderInt64 || !narrow.shaderInt8 || !narrow.storageBuffer8BitAccess)
      continue;
    uint32_t families = 0;
    GetPhysicalDeviceQueueFamilyProperties(devices[i], &families, nullptr);
    std::vector<VkQueueFamilyProperties> queues(families);
    GetPhysicalDeviceQueueFamilyProperties(devices[i], &families, queues.data());
    for (uint32_t q = 0; q < families; ++q)
      if ((queues[q].queueFlags & VK_QUEUE_COMPUTE_BIT) && rankOf(each.deviceType) > best) {
        best = rankOf(each.deviceType);
        physical = devices[i];
        properties = each;
        family = q;
      }
  }
  if (!best)
    return Error{"compiled for " + target +
                 ", but no Vulkan device of this machine has Vulkan 1.2 with integers of 64 "
                 "and 8 bits; there are: " +
                 (names.empty() ? "none" : names)};
  return Done{};
}

Status VulkanApi::createDevice() {
  float priority = 1;
  auto queueInfo = structure<VkDeviceQueueCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO);
  queueInfo.queueFamilyIndex = family;
  queueInfo.queueCount = 1;
  queueInfo.pQueuePriorities = &priority;
  auto narrow =
      structure<VkPhysicalDeviceVulkan12Features>(VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES);
  narrow.shaderInt8 = narrow.storageBuffer8BitAccess = VK_TRUE;
  VkPhysicalDeviceFeatures2 features = {VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &narrow, {}};
  features.features.shaderInt64 = VK_TRUE;
  auto info = structure<VkDeviceCreateInfo>(VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO);
  info.pNext = &features;
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queueInfo;
  if (CreateDevice(physical, &info, nullptr, &device) != VK_SUCCESS) {
    device = VK_NULL_HANDLE;
    return Error{std::string(properties.deviceName) + ": the device cannot be opened"};
  }
#define ADAPTER_VULKAN_LOAD(NAME)                                                                            \
  NAME = reinterpret_cast<PFN_vk##NAME>(GetDeviceProcAddr(device, "vk" #NAME));                              \
  if (!NAME)                                                                                                 \
    return Error{std::string(properties.deviceName) + ": the driver lacks vk" #NAME};
  ADAPTER_VULKAN_DEVICE(ADAPTER_VULKAN_LOAD)
#undef ADAPTER_VULKAN_LOAD
  GetDeviceQueue(device, family, 0, &queue);
  GetPhysicalDeviceMemoryProperties(physical, &memory);
  return Done{};
}

} // namespace adapter::runtime
