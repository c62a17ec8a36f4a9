// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Commands: copies and launches, recorded and submitted; see VulkanDevice.h.
#include "lib/Runtime/VulkanDevice.h"
#include <algorithm>
#include <cstring>

namespace adapter::runtime {

Status VulkanDevice::makeKernel(Kernel &kernel, const artifact::Kernel &description) {
  uint32_t count = description.buffers() + (description.scalars() ? 1 : 0);
  if (count > vk.properties.limits.maxPerStageDescriptorStorageBuffers)
    return Error{name() + ": the kernel '" + description.name() + "' takes " + std::to_string(count) +
                 " buffers; this device binds " +
                 std::to_string(vk.properties.limits.maxPerStageDescriptorStorageBuffers) + " at most"};
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (uint32_t i = 0; i < count; ++i)
    bindings.push_back({i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  auto setInfo =
      structure<VkDescriptorSetLayoutCreateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO);
  setInfo.bindingCount = count;
  setInfo.pBindings = bindings.data();
  if (VkResult error = vk.CreateDescriptorSetLayout(vk.device, &setInfo, nullptr, &kernel.setLayout))
    return fail("a kernel cannot be made", error);
  auto layoutInfo = structure<VkPipelineLayoutCreateInfo>(VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO);
  layoutInfo.setLayoutCount = 1;
  layoutInfo.pSetLayouts = &kernel.setLayout;
  if (VkResult error = vk.CreatePipelineLayout(vk.device, &layoutInfo, nullptr, &kernel.layout))
    return fail("a kernel cannot be made", error);
  auto info = structure<VkComputePipelineCreateInfo>(VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO);
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = description.name().c_str();
  info.layout = kernel.layout;
  if (VkResult error =
          vk.CreateComputePipelines(vk.device, VK_NULL_HANDLE, 1, &info, nullptr, &kernel.pipeline))
    return fail("a kernel cannot be made", error);
  return Done{};
}

Status VulkanDevice::begin() {
  if (recording)
    return Done{};
  auto info = structure<VkCommandBufferBeginInfo>(VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO);
  info.flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT;
  if (VkResult error = vk.BeginCommandBuffer(commands, &info))
    return fail("no commands can be recorded", error);
  recording = true;
  return Done{};
}

Status VulkanDevice::submit() {
  if (!recording)
    return Done{};
  recording = false;
  stagingUsed = wordsUsed = 0;
  setsUsed = buffersUsed = 0;
  barrier();
  VkResult error = vk.EndCommandBuffer(commands);
  auto info = structure<VkSubmitInfo>(VK_STRUCTURE_TYPE_SUBMIT_INFO);
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  if (!error)
    error = vk.QueueSubmit(vk.queue, 1, &info, fence);
  if (!error)
    error = vk.WaitForFences(vk.device, 1, &fence, VK_TRUE, UINT64_MAX);
  if (!error)
    error = vk.ResetFences(vk.device, 1, &fence);
  if (!error)
    error = vk.ResetCommandPool(vk.device, commandPool, 0);
  if (!error)
    error = vk.ResetDescriptorPool(vk.device, descriptorPool, 0);
  if (error)
    return fail("running kernels failed", error);
  return Done{};
}

void VulkanDevice::barrier() {
  constexpr VkAccessFlags writes =
      VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT | VK_ACCESS_HOST_WRITE_BIT;
  constexpr VkAccessFlags reads =
      VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_HOST_READ_BIT;
  constexpr VkPipelineStageFlags stages =
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT | VK_PIPELINE_STAGE_HOST_BIT;
  auto memory = structure<VkMemoryBarrier>(VK_STRUCTURE_TYPE_MEMORY_BARRIER);
  memory.srcAccessMask = writes;
  memory.dstAccessMask = reads | writes;
  vk.CmdPipelineBarrier(commands, stages, stages, 0, 1, &memory, 0, nullptr, 0, nullptr);
}

Status VulkanDevice::write(void *buffer, int64_t offset, const void *data, int64_t bytes) {
  const char *from = static_cast<const char *>(data);
  while (bytes > 0) {
    if (stagingUsed == stagingBytes)
      if (Status status = submit(); !status)
        return status;
    if (Status status = begin(); !status)
      return status;
    int64_t part = std::min<int64_t>(bytes, static_cast<int64_t>(stagingBytes - stagingUsed));
    std::memcpy(staging->mapped + stagingUsed, from, part);
    VkBufferCopy copy = {stagingUsed, static_cast<VkDeviceSize>(offset), static_cast<VkDeviceSize>(part)};
    barrier();
    vk.CmdCopyBuffer(commands, staging->buffer, static_cast<Buffer *>(buffer)->buffer, 1, &copy);
    stagingUsed += part;
    from += part;
    offset += part;
    bytes -= part;
  }
  return Done{};
}

Status VulkanDevice::read(void *buffer, int64_t offset, void *data, int64_t bytes) {
  char *to = static_cast<char *>(data);
  while (bytes > 0) {
    if (stagingUsed == stagingBytes)
      if (Status status = submit(); !status)
        return status;
    if (Status status = begin(); !status)
      return status;
    VkDeviceSize place = stagingUsed;
    int64_t part = std::min<int64_t>(bytes, static_cast<int64_t>(stagingBytes - place));
    VkBufferCopy copy = {static_cast<VkDeviceSize>(offset), place, static_cast<VkDeviceSize>(part)};
    barrier();
    vk.CmdCopyBuffer(commands, static_cast<Buffer *>(buffer)->buffer, staging->buffer, 1, &copy);
    if (Status status = submit(); !status)
      return status;
    std::memcpy(to, staging->mapped + place, part);
    to += part;
    offset += part;
    bytes -= part;
  }
  return Done{};
}

Status VulkanDevice::launch(const artifact::Kernel &description, int number, int64_t groups,
                            void *const *buffers, const int32_t *scalars) {
  Kernel &kernel = kernels[number];
  if (!kernel.pipeline)
    if (Status status = makeKernel(kernel, description); !status)
      return status;
  VkDeviceSize alignment = std::max<VkDeviceSize>(vk.properties.limits.minStorageBufferOffsetAlignment, 4);
  VkDeviceSize bytes = description.scalars() * sizeof(int32_t);
  VkDeviceSize place = (wordsUsed + alignment - 1) / alignment * alignment;
  uint32_t count = description.buffers() + (bytes ? 1 : 0);
  if (place + bytes > scalarBytes || setsUsed == setsPerSubmit || buffersUsed + count > buffersPerSubmit) {
    if (Status status = submit(); !status)
      return status;
    place = 0;
  }
  if (Status status = begin(); !status)
    return status;
  auto setInfo = structure<VkDescriptorSetAllocateInfo>(VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO);
  setInfo.descriptorPool = descriptorPool;
  setInfo.descriptorSetCount = 1;
  setInfo.pSetLayouts = &kernel.setLayout;
  VkDescriptorSet set = VK_NULL_HANDLE;
  if (VkResult error = vk.AllocateDescriptorSets(vk.device, &setInfo, &set))
    return fail("no buffers can be bound", error);
  ++setsUsed;
  buffersUsed += count;
  std::vector<VkDescriptorBufferInfo> infos;
  for (int i = 0; i < description.buffers(); ++i)
    infos.push_back({static_cast<Buffer *>(buffers[i])->buffer, 0, VK_WHOLE_SIZE});
  if (bytes) {
    std::memcpy(words->mapped + place, scalars, bytes);
    wordsUsed = place + bytes;
    infos.push_back({words->buffer, place, bytes});
  }
  std::vector<VkWriteDescriptorSet> writes(
      count, structure<VkWriteDescriptorSet>(VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET));
  for (uint32_t i = 0; i < count; ++i) {
    writes[i].dstSet = set;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    writes[i].pBufferInfo = &infos[i];
  }
  vk.UpdateDescriptorSets(vk.device, count, writes.data(), 0, nullptr);
  barrier();
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.pipeline);
  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, kernel.layout, 0, 1, &set, 0, nullptr);
  vk.CmdDispatch(commands, static_cast<uint32_t>(groups), 1, 1);
  return Done{};
}

} // namespace adapter::runtime
