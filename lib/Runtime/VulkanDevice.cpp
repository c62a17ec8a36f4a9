// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Opening a device, its buffers; see VulkanDevice.h.
#include "lib/Runtime/VulkanDevice.h"
#include <cstring>

namespace adapter::runtime {

VulkanDevice::~VulkanDevice() {
  if (!vk.DeviceWaitIdle || !vk.device)
    return;
  vk.DeviceWaitIdle(vk.device);
  destroyAll();
  for (Buffer *each : {staging, words})
    if (each)
      destroy(each);
  for (const Kernel &kernel : kernels) {
    vk.DestroyPipeline(vk.device, kernel.pipeline, nullptr);
    vk.DestroyPipelineLayout(vk.device, kernel.layout, nullptr);
    vk.DestroyDescriptorSetLayout(vk.device, kernel.setLayout, nullptr);
  }
  vk.DestroyShaderModule(vk.device, module, nullptr);
  vk.DestroyFence(vk.device, fence, nullptr);
  vk.DestroyDescriptorPool(vk.device, descriptorPool, nullptr);
  vk.DestroyCommandPool(vk.device, commandPool, nullptr);
}

Status VulkanDevice::open(const artifact::Device &description, DeviceCode code) {
  if (Status status = vk.open(description.target()); !status)
    return status;
  kernels.resize(description.kernels_size());
  std::vector<uint32_t> binary(code.size / sizeof(uint32_t)); // aligned
  std::memcpy(binary.data(), code.data, binary.size() * sizeof(uint32_t));
  auto moduleInfo = structure<VkShaderModuleCreateInfo>(VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO);
  moduleInfo.codeSize = binary.size() * sizeof(uint32_t);
  moduleInfo.pCode = binary.data();
  // A graph of views alone has no kernels.
  if (!kernels.empty())
    if (VkResult error = vk.CreateShaderModule(vk.device, &moduleInfo, nullptr, &module))
      return fail("the kernels cannot be loaded", error);
  auto poolInfo = structure<VkCommandPoolCreateInfo>(VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO);
  poolInfo.queueFamilyIndex = vk.family;
  if (VkResult error = vk.CreateCommandPool(vk.device, &poolInfo, nullptr, &commandPool))
    return fail("no commands can be recorded", error);
  auto commandInfo = structure<VkCommandBufferAllocateInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO);
  commandInfo.commandPool = commandPool;
  commandInfo.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  commandInfo.commandBufferCount = 1;
  if (VkResult error = vk.AllocateCommandBuffers(vk.device, &commandInfo, &commands))
    return fail("no commands can be recorded", error);
  VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffersPerSubmit};
  auto setsInfo = structure<VkDescriptorPoolCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO);
  setsInfo.maxSets = setsPerSubmit;
  setsInfo.poolSizeCount = 1;
  setsInfo.pPoolSizes = &size;
  if (VkResult error = vk.CreateDescriptorPool(vk.device, &setsInfo, nullptr, &descriptorPool))
    return fail("no buffers can be bound", error);
  auto fenceInfo = structure<VkFenceCreateInfo>(VK_STRUCTURE_TYPE_FENCE_CREATE_INFO);
  if (VkResult error = vk.CreateFence(vk.device, &fenceInfo, nullptr, &fence))
    return fail("no commands can be waited for", error);
  constexpr VkMemoryPropertyFlags seen =
      VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  Result<Buffer *> made =
      makeBuffer(stagingBytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT, seen);
  if (!made)
    return made.error();
  staging = *made;
  made = makeBuffer(scalarBytes, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, seen);
  if (!made)
    return made.error();
  words = *made;
  return Done{};
}

Result<VulkanDevice::Buffer *> VulkanDevice::makeBuffer(VkDeviceSize size, VkBufferUsageFlags usage,
                                                        VkMemoryPropertyFlags wanted) {
  auto made = std::make_unique<Buffer>();
  made->size = size;
  auto info = structure<VkBufferCreateInfo>(VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO);
  info.size = size;
  info.usage = usage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  if (VkResult error = vk.CreateBuffer(vk.device, &info, nullptr, &made->buffer))
    return fail("a buffer cannot be made", error);
  VkMemoryRequirements needs;
  vk.GetBufferMemoryRequirements(vk.device, made->buffer, &needs);
  auto allocation = structure<VkMemoryAllocateInfo>(VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO);
  allocation.allocationSize = needs.size;
  VkResult error = VK_ERROR_OUT_OF_DEVICE_MEMORY;
  for (uint32_t type = 0; type < vk.memory.memoryTypeCount && error; ++type) {
    if (!(needs.memoryTypeBits & (1u << type)) ||
        (vk.memory.memoryTypes[type].propertyFlags & wanted) != wanted)
      continue;
    allocation.memoryTypeIndex = type;
    error = vk.AllocateMemory(vk.device, &allocation, nullptr, &made->memory);
  }
  if (!error)
    error = vk.BindBufferMemory(vk.device, made->buffer, made->memory, 0);
  if (!error && (wanted & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT)) {
    void *mapped = nullptr;
    error = vk.MapMemory(vk.device, made->memory, 0, VK_WHOLE_SIZE, 0, &mapped);
    made->mapped = static_cast<char *>(mapped);
  }
  if (error) {
    destroy(made.release());
    return fail("the device is out of memory", error);
  }
  return made.release();
}

Result<void *> VulkanDevice::create(int64_t bytes) {
  if (static_cast<uint64_t>(bytes) > vk.properties.limits.maxStorageBufferRange)
    return Error{name() + ": a tensor takes " + std::to_string(bytes) +
                 " bytes; this device's buffers have " +
                 std::to_string(vk.properties.limits.maxStorageBufferRange) + " at most"};
  Result<Buffer *> made = makeBuffer(bytes,
                                     VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT |
                                         VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                     VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
  if (!made)
    return made.error();
  return static_cast<void *>(*made);
}

void VulkanDevice::destroy(void *each) {
  // Commands that are not submitted yet may name it.
  if (recording)
    (void)submit();
  std::unique_ptr<Buffer> buffer(static_cast<Buffer *>(each));
  vk.DestroyBuffer(vk.device, buffer->buffer, nullptr);
  vk.FreeMemory(vk.device, buffer->memory, nullptr);
}

Result<std::shared_ptr<Device>> openVulkan(const artifact::Device &description, DeviceCode code) {
  auto device = std::make_shared<VulkanDevice>();
  if (Status status = device->open(description, code); !status)
    return status.error();
  return std::shared_ptr<Device>(std::move(device));
}

} // namespace adapter::runtime
