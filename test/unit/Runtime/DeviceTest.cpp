// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What device drivers have in common, with a device that is made up, and how banks are packed.
#include "lib/Runtime/DeviceCall.h"
#include <cstring>
#include <gtest/gtest.h>

using namespace adapter::runtime;
namespace artifact = adapter::artifact;

namespace {

// Buffers are memory of the process. Fails on request.
class FakeDevice final : public Device {
public:
  ~FakeDevice() override { destroyAll(); }
  Status write(void *buffer, int64_t offset, const void *data, int64_t bytes) override {
    std::memcpy(static_cast<char *>(buffer) + offset, data, static_cast<size_t>(bytes));
    return Done{};
  }
  Status read(void *buffer, int64_t offset, void *data, int64_t bytes) override {
    std::memcpy(data, static_cast<char *>(buffer) + offset, static_cast<size_t>(bytes));
    return Done{};
  }
  Status launch(const artifact::Kernel &kernel, int, int64_t, void *const *, const int32_t *) override {
    if (kernel.name() == "broken")
      return Error{"the kernel is broken"};
    ++launches;
    return Done{};
  }
  std::string name() const override { return "fake"; }

  int launches = 0, created = 0;
  int64_t room = 1 << 20;

protected:
  Result<void *> create(int64_t bytes) override {
    if (bytes > room)
      return Error{"no room"};
    ++created;
    room -= bytes;
    sizes.emplace_back(new char[static_cast<size_t>(bytes)], bytes);
    return static_cast<void *>(sizes.back().first);
  }
  void destroy(void *buffer) override {
    for (auto &[each, bytes] : sizes)
      if (each == buffer) {
        room += bytes;
        delete[] each;
        each = nullptr;
      }
  }

private:
  std::vector<std::pair<char *, int64_t>> sizes;
};

struct Fixture {
  std::shared_ptr<FakeDevice> device = std::make_shared<FakeDevice>();
  Artifact artifact;
  std::vector<const void *> parameters;
  std::vector<int32_t> entries{1, -1};
  DeviceTensors pristine, changed;

  Fixture() {
    for (const char *name : {"fine", "broken"}) {
      auto &kernel = *artifact.manifest.mutable_device()->add_kernels();
      kernel.set_name(name);
      kernel.set_threads(1);
    }
  }
  DeviceCall::Inputs inputs() { return {&artifact, &parameters, {}, &entries, &pristine, &changed}; }
};

} // namespace

TEST(Device, BuffersAreUsedAgain) {
  FakeDevice device;
  void *first = *device.allocate(1000);
  device.release(first);
  EXPECT_EQ(*device.allocate(1010), first);
  EXPECT_NE(*device.allocate(1010), first);
  EXPECT_EQ(device.created, 2);
}

TEST(Device, WhatIsKeptMakesRoom) {
  FakeDevice device;
  device.room = 10000;
  void *first = *device.allocate(8000);
  EXPECT_FALSE(device.allocate(4000));
  device.release(first);
  EXPECT_TRUE(device.allocate(4000));
}

TEST(Device, CallReadsAndWrites) {
  Fixture fixture;
  {
    DeviceCall call(fixture.device, fixture.inputs());
    const adapter_device_v1 &table = *call.table();
    void *buffer = table.allocate(table.state, 4, 4);
    float in[4] = {1, 2, 3, 4}, out[2] = {};
    table.write(table.state, buffer, 0, in, sizeof in);
    table.launch(table.state, 0, 3, &buffer, nullptr);
    table.launch(table.state, 0, 0, &buffer, nullptr); // no groups: nothing to do
    EXPECT_EQ(table.read(table.state, buffer, 8, out, sizeof out), 0);
    EXPECT_EQ(out[0], 3);
    EXPECT_EQ(out[1], 4);
    int32_t entries[2] = {};
    EXPECT_EQ(table.read(table.state, table.rows(table.state), 0, entries, sizeof entries), 0);
    EXPECT_EQ(entries[0], 1);
    EXPECT_EQ(entries[1], -1);
    EXPECT_EQ(call.failure(), "");
  }
  EXPECT_EQ(fixture.device->launches, 1);
  // What the call left is free again.
  int created = fixture.device->created;
  EXPECT_TRUE(fixture.device->allocate(16));
  EXPECT_EQ(fixture.device->created, created);
}

TEST(Device, FirstFailureEndsACall) {
  Fixture fixture;
  DeviceCall call(fixture.device, fixture.inputs());
  const adapter_device_v1 &table = *call.table();
  void *buffer = table.allocate(table.state, 1, 4);
  table.launch(table.state, 1, 1, &buffer, nullptr);
  table.launch(table.state, 0, 1, &buffer, nullptr);
  EXPECT_EQ(table.allocate(table.state, int64_t{1} << 40, 4), nullptr);
  int32_t value = 7;
  EXPECT_NE(table.read(table.state, buffer, 0, &value, sizeof value), 0);
  EXPECT_EQ(value, 0);
  EXPECT_EQ(call.failure(), "the kernel is broken");
  EXPECT_EQ(fixture.device->launches, 0);
}

TEST(Device, TooManyElementsAreRefused) {
  Fixture fixture;
  DeviceCall call(fixture.device, fixture.inputs());
  EXPECT_EQ(call.table()->allocate(call.table()->state, int64_t{1} << 31, 1), nullptr);
  EXPECT_NE(call.failure().find("2147483648 elements"), std::string::npos) << call.failure();
}

TEST(Device, UnknownKernelsAreRefused) {
  Fixture fixture;
  DeviceCall call(fixture.device, fixture.inputs());
  call.table()->launch(call.table()->state, 9, 1, nullptr, nullptr);
  EXPECT_NE(call.failure(), "");
}

TEST(Device, BanksArePacked) {
  float down[3] = {1, 2, 3}, rows[2] = {4, 5};
  int64_t indices[2] = {8, 9};
  std::vector<adapter_entry_v1> entries(2);
  std::vector<EntrySizes> sizes(2);
  entries[1].tensor[0] = down;
  entries[1].tensor[2] = indices;
  entries[1].tensor[3] = rows;
  entries[1].extent[1] = 2;
  sizes[1].elements[0] = 3;
  sizes[1].elements[2] = 2;
  sizes[1].integers[2] = true;
  sizes[1].elements[3] = 2;
  Result<PackedBank> packed = packBank({&entries, &sizes});
  ASSERT_TRUE(packed);
  EXPECT_EQ(packed->numbers, (std::vector<float>{1, 2, 3, 4, 5}));
  constexpr size_t words = ADAPTER_ENTRY_TENSORS + ADAPTER_ENTRY_EXTENTS;
  ASSERT_EQ(packed->table.size(), 2 * words + 2);
  const int32_t *entry = packed->table.data() + words, *behind = entry + words;
  EXPECT_EQ(packed->table[0], -1);
  EXPECT_EQ(entry[0], 0);
  EXPECT_EQ(entry[1], -1);
  EXPECT_EQ(entry[2], static_cast<int32_t>(2 * words));
  EXPECT_EQ(entry[3], 3);
  EXPECT_EQ(entry[ADAPTER_ENTRY_TENSORS + 1], 2);
  EXPECT_EQ(behind[0], 8);
  EXPECT_EQ(behind[1], 9);
}

TEST(Device, FormatsWithoutADriverLayerAreNamed) {
  artifact::Device description;
  description.set_target("spirv:opencl");
  description.set_format("spirv-opencl");
  Result<std::shared_ptr<Device>> device = openDevice(description, {nullptr, 0});
  ASSERT_FALSE(device);
  EXPECT_NE(device.error().message.find("spirv:opencl"), std::string::npos);
  description.set_format("spirv-vulkan");
  description.add_kernels()->set_name("k");
  device = openDevice(description, {nullptr, 0});
  ASSERT_FALSE(device);
  EXPECT_NE(device.error().message.find("no code"), std::string::npos);
}
