// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The functions of Vulkan that the runtime uses, found in the loader at run time.
#ifndef ADAPTER_LIB_RUNTIME_VULKANAPI_H
#define ADAPTER_LIB_RUNTIME_VULKANAPI_H

#define VK_NO_PROTOTYPES
#include "lib/Checkpoint/Result.h"
#include <memory>
#include <vulkan/vulkan_core.h>

namespace adapter::runtime {

#define ADAPTER_VULKAN_INSTANCE(FUNCTION)                                                                    \
  FUNCTION(EnumeratePhysicalDevices)                                                                         \
  FUNCTION(GetPhysicalDeviceProperties)                                                                      \
  FUNCTION(GetPhysicalDeviceFeatures2)                                                                       \
  FUNCTION(GetPhysicalDeviceQueueFamilyProperties)                                                           \
  FUNCTION(GetPhysicalDeviceMemoryProperties)                                                                \
  FUNCTION(CreateDevice)                                                                                     \
  FUNCTION(GetDeviceProcAddr)                                                                                \
  FUNCTION(DestroyInstance)

#define ADAPTER_VULKAN_DEVICE(FUNCTION)                                                                      \
  FUNCTION(GetDeviceQueue)                                                                                   \
  FUNCTION(DestroyDevice)                                                                                    \
  FUNCTION(DeviceWaitIdle)                                                                                   \
  FUNCTION(CreateBuffer)                                                                                     \
  FUNCTION(DestroyBuffer)                                                                                    \
  FUNCTION(GetBufferMemoryRequirements)                                                                      \
  FUNCTION(AllocateMemory)                                                                                   \
  FUNCTION(FreeMemory)                                                                                       \
  FUNCTION(BindBufferMemory)                                                                                 \
  FUNCTION(MapMemory)                                                                                        \
  FUNCTION(CreateShaderModule)                                                                               \
  FUNCTION(DestroyShaderModule)                                                                              \
  FUNCTION(CreateDescriptorSetLayout)                                                                        \
  FUNCTION(DestroyDescriptorSetLayout)                                                                       \
  FUNCTION(CreatePipelineLayout)                                                                             \
  FUNCTION(DestroyPipelineLayout)                                                                            \
  FUNCTION(CreateComputePipelines)                                                                           \
  FUNCTION(DestroyPipeline)                                                                                  \
  FUNCTION(CreateDescriptorPool)                                                                             \
  FUNCTION(DestroyDescriptorPool)                                                                            \
  FUNCTION(ResetDescriptorPool)                                                                              \
  FUNCTION(AllocateDescriptorSets)                                                                           \
  FUNCTION(UpdateDescriptorSets)                                                                             \
  FUNCTION(CreateCommandPool)                                                                                \
  FUNCTION(DestroyCommandPool)                                                                               \
  FUNCTION(ResetCommandPool)                                                                                 \
  FUNCTION(AllocateCommandBuffers)                                                                           \
  FUNCTION(BeginCommandBuffer)                                                                               \
  FUNCTION(EndCommandBuffer)                                                                                 \
  FUNCTION(CmdBindPipeline)                                                                                  \
  FUNCTION(CmdBindDescriptorSets)                                                                            \
  FUNCTION(CmdDispatch)                                                                                      \
  FUNCTION(CmdPipelineBarrier)                                                                               \
  FUNCTION(CmdCopyBuffer)                                                                                    \
  FUNCTION(QueueSubmit)                                                                                      \
  FUNCTION(CreateFence)                                                                                      \
  FUNCTION(DestroyFence)                                                                                     \
  FUNCTION(WaitForFences)                                                                                    \
  FUNCTION(ResetFences)

// A structure of Vulkan's: its kind, and zeros.
template <typename T>
T structure(VkStructureType type) {
  T made{};
  made.sType = type;
  return made;
}

// An instance, a device on it with one queue for computing, and their functions.
class VulkanApi {
public:
  VulkanApi() = default;
  VulkanApi(const VulkanApi &) = delete;
  ~VulkanApi();

  // Takes the best device that has what kernels need.
  checkpoint::Status open(const std::string &target);

  VkDevice device = VK_NULL_HANDLE;
  VkQueue queue = VK_NULL_HANDLE;
  uint32_t family = 0;
  VkPhysicalDeviceProperties properties{};
  VkPhysicalDeviceMemoryProperties memory{};

#define ADAPTER_VULKAN_MEMBER(NAME) PFN_vk##NAME NAME = nullptr;
  ADAPTER_VULKAN_INSTANCE(ADAPTER_VULKAN_MEMBER)
  ADAPTER_VULKAN_DEVICE(ADAPTER_VULKAN_MEMBER)
#undef ADAPTER_VULKAN_MEMBER

private:
  checkpoint::Status choose(const std::string &target);
  checkpoint::Status createDevice();

  std::shared_ptr<void> library;
  VkInstance instance = VK_NULL_HANDLE;
  VkPhysicalDevice physical = VK_NULL_HANDLE;
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_VULKANAPI_H
