// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Devices through Vulkan. Commands are recorded until something has to be read back; data crosses in a buffer
// that both sides see.
#include "lib/Runtime/Device.h"
#include "lib/Runtime/VulkanApi.h"
#include <algorithm>
#include <cstring>

namespace adapter::runtime {

namespace {

constexpr VkDeviceSize stagingBytes = 16 << 20, scalarBytes = 1 << 20;
constexpr uint32_t setsPerSubmit = 1024, buffersPerSubmit = 16384;

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
  VkShaderModuleCreateInfo moduleInfo = {VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  moduleInfo.codeSize = binary.size() * sizeof(uint32_t);
  moduleInfo.pCode = binary.data();
  // A graph of views alone has no kernels.
  if (!kernels.empty())
    if (VkResult error = vk.CreateShaderModule(vk.device, &moduleInfo, nullptr, &module))
      return fail("the kernels cannot be loaded", error);
  VkCommandPoolCreateInfo poolInfo = {VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
  poolInfo.queueFamilyIndex = vk.family;
  if (VkResult error = vk.CreateCommandPool(vk.device, &poolInfo, nullptr, &commandPool))
    return fail("no commands can be recorded", error);
  VkCommandBufferAllocateInfo commandInfo = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO};
  commandInfo.commandPool = commandPool;
  commandInfo.level = VK_COMMAND_BUFFER_LEVEL_PRIMARY;
  commandInfo.commandBufferCount = 1;
  if (VkResult error = vk.AllocateCommandBuffers(vk.device, &commandInfo, &commands))
    return fail("no commands can be recorded", error);
  VkDescriptorPoolSize size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffersPerSubmit};
  VkDescriptorPoolCreateInfo setsInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO};
  setsInfo.maxSets = setsPerSubmit;
  setsInfo.poolSizeCount = 1;
  setsInfo.pPoolSizes = &size;
  if (VkResult error = vk.CreateDescriptorPool(vk.device, &setsInfo, nullptr, &descriptorPool))
    return fail("no buffers can be bound", error);
  VkFenceCreateInfo fenceInfo = {VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
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

Result<Buffer *> VulkanDevice::makeBuffer(VkDeviceSize size, VkBufferUsageFlags usage,
                                          VkMemoryPropertyFlags wanted) {
  auto made = std::make_unique<Buffer>();
  made->size = size;
  VkBufferCreateInfo info = {VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = size;
  info.usage = usage;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  if (VkResult error = vk.CreateBuffer(vk.device, &info, nullptr, &made->buffer))
    return fail("a buffer cannot be made", error);
  VkMemoryRequirements needs;
  vk.GetBufferMemoryRequirements(vk.device, made->buffer, &needs);
  VkMemoryAllocateInfo allocation = {VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO};
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

Status VulkanDevice::makeKernel(Kernel &kernel, const artifact::Kernel &description) {
  uint32_t count = description.buffers() + (description.scalars() ? 1 : 0);
  if (count > vk.properties.limits.maxPerStageDescriptorStorageBuffers)
    return Error{name() + ": the kernel '" + description.name() + "' takes " + std::to_string(count) +
                 " buffers; this device binds " +
                 std::to_string(vk.properties.limits.maxPerStageDescriptorStorageBuffers) + " at most"};
  std::vector<VkDescriptorSetLayoutBinding> bindings;
  for (uint32_t i = 0; i < count; ++i)
    bindings.push_back({i, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1, VK_SHADER_STAGE_COMPUTE_BIT, nullptr});
  VkDescriptorSetLayoutCreateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO};
  setInfo.bindingCount = count;
  setInfo.pBindings = bindings.data();
  if (VkResult error = vk.CreateDescriptorSetLayout(vk.device, &setInfo, nullptr, &kernel.setLayout))
    return fail("a kernel cannot be made", error);
  VkPipelineLayoutCreateInfo layoutInfo = {VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO};
  layoutInfo.setLayoutCount = 1;
  layoutInfo.pSetLayouts = &kernel.setLayout;
  if (VkResult error = vk.CreatePipelineLayout(vk.device, &layoutInfo, nullptr, &kernel.layout))
    return fail("a kernel cannot be made", error);
  VkComputePipelineCreateInfo info = {VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
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
  VkCommandBufferBeginInfo info = {VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
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
  VkSubmitInfo info = {VK_STRUCTURE_TYPE_SUBMIT_INFO};
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
  VkMemoryBarrier memory = {VK_STRUCTURE_TYPE_MEMORY_BARRIER};
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
  VkDescriptorSetAllocateInfo setInfo = {VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO};
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
  std::vector<VkWriteDescriptorSet> writes(count, {VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET});
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

} // namespace

Result<std::shared_ptr<Device>> openVulkan(const artifact::Device &description, DeviceCode code) {
  auto device = std::make_shared<VulkanDevice>();
  if (Status status = device->open(description, code); !status)
    return status.error();
  return std::shared_ptr<Device>(std::move(device));
}

} // namespace adapter::runtime
