// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Devices through Vulkan. Commands are recorded until something has to be read back; data crosses in a buffer
// that both sides see.
#ifndef ADAPTER_LIB_RUNTIME_VULKANDEVICE_H
#define ADAPTER_LIB_RUNTIME_VULKANDEVICE_H

#include "lib/Runtime/Device.h"
#include "lib/Runtime/VulkanApi.h"

namespace adapter::runtime {

class VulkanDevice final : public Device {
public:
  ~VulkanDevice() override;
  Status open(const artifact::Device &description, DeviceCode code);
  Status write(void *buffer, int64_t offset, const void *data, int64_t bytes) override;
  Status read(void *buffer, int64_t offset, void *data, int64_t bytes) override;
  Status launch(const artifact::Kernel &kernel, int number, int64_t groups, void *const *buffers,
                const int32_t *scalars) override;
  std::string name() const override { return vk.properties.deviceName; }

protected:
  Result<void *> create(int64_t bytes) override;
  void destroy(void *buffer) override;

private:
  static constexpr VkDeviceSize stagingBytes = 16 << 20, scalarBytes = 1 << 20;
  static constexpr uint32_t setsPerSubmit = 1024, buffersPerSubmit = 16384;
  struct Buffer {
    VkBuffer buffer = VK_NULL_HANDLE;
    VkDeviceMemory memory = VK_NULL_HANDLE;
    VkDeviceSize size = 0;
    char *mapped = nullptr; // where the host sees it
  };

  struct Kernel {
    VkDescriptorSetLayout setLayout = VK_NULL_HANDLE;
    VkPipelineLayout layout = VK_NULL_HANDLE;
    VkPipeline pipeline = VK_NULL_HANDLE;
  };

  Error fail(const char *what, VkResult code) const {
    return Error{name() + ": " + what + " (Vulkan's error " + std::to_string(code) + ")"};
  }
  Result<Buffer *> makeBuffer(VkDeviceSize size, VkBufferUsageFlags usage, VkMemoryPropertyFlags wanted);
  Status makeKernel(Kernel &kernel, const artifact::Kernel &description);
  Status begin();
  Status submit();
  // Whatever was recorded is done, and seen, before what comes.
  void barrier();

  VulkanApi vk;
  VkShaderModule module = VK_NULL_HANDLE;
  std::vector<Kernel> kernels; // pipelines are made when first launched
  VkCommandPool commandPool = VK_NULL_HANDLE;
  VkCommandBuffer commands = VK_NULL_HANDLE;
  VkDescriptorPool descriptorPool = VK_NULL_HANDLE;
  VkFence fence = VK_NULL_HANDLE;
  Buffer *staging = nullptr, *words = nullptr;
  bool recording = false;
  VkDeviceSize stagingUsed = 0, wordsUsed = 0;
  uint32_t setsUsed = 0, buffersUsed = 0;
};

} // namespace adapter::runtime

#endif // ADAPTER_LIB_RUNTIME_VULKANDEVICE_H
