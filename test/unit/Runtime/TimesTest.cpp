// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What comes with a call, and adapters that act from their loading on.
#include "test/unit/Runtime/TinyModel.h"
#include <limits>

using namespace adapter::test;

namespace {

class Times : public TinyModel {
protected:
  std::vector<float> callWith(const char *adapter, const std::vector<adapter_rt_setting> &settings) {
    adapter_rt_call_options options = {};
    options.struct_size = sizeof options;
    options.adapter = adapter;
    options.settings = settings.data();
    options.setting_count = settings.size();
    return callY(1, &options);
  }
  // W0 with the first direction of r1, which has two.
  static std::vector<float> w0WithFirstOfR1(double factor = 1) {
    std::vector<float> a = sequence(6, 1), b = sequence(8, 2), first;
    for (size_t i = 0; i < b.size(); i += 2)
      first.push_back(b[i]);
    a.resize(tinyIn);
    return addLora(tinyW0(), tinyHidden, tinyIn, a, first, 2 * factor);
  }
};

TEST_F(Times, SettingsOfACall) {
  expectRow(callWith("r1", {{"r1.scale", 0.5}}), 0, w0WithR1(0.5), tinyW1());
  expectRow(callWith("r1", {{"r1.rank", 1}}), 0, w0WithFirstOfR1(), tinyW1());
  expectRow(callWith("r1", {{"r1.rank", 1}, {"r1.scale", 3}}), 0, w0WithFirstOfR1(3), tinyW1());
  expectRow(callWith("r1", {}), 0, w0WithR1(), tinyW1());
  // A setting of the call stands for the one between calls; what it does not name stays.
  ASSERT_EQ(adapter_rt_set(model, "r1.rank", 1), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callWith("r1", {{"r1.scale", 0.5}}), 0, w0WithFirstOfR1(0.5), tinyW1());
  expectRow(callWith("r1", {{"r1.rank", 2}}), 0, w0WithR1(), tinyW1());
  expectRow(callWith("r1", {}), 0, w0WithFirstOfR1(), tinyW1());
}

TEST_F(Times, ManySettings) {
  for (int round = 0; round < 2; ++round)
    for (int i = 0; i < 30; ++i)
      expectRow(callWith("r1", {{"r1.scale", i / 10.0}}), 0, w0WithR1(i / 10.0), tinyW1());
}

TEST_F(Times, SettingsAtFault) {
  auto refuse = [&](const char *adapter, const std::vector<adapter_rt_setting> &settings, const char *part) {
    EXPECT_TRUE(callWith(adapter, settings).empty());
    failedWith(part);
  };
  refuse(nullptr, {{"r1.scale", 1}}, "the call names no adapter 'r1'");
  refuse("r1", {{"s1.scale", 1}},
         "'s1.scale' was not compiled to come with the call; compile the model with --adapter "
         "s1=PATH@row:scale=@call, or set it between calls");
  refuse("r1", {{"none.scale", 1}}, "no adapter 'none'");
  refuse("r1", {{"r1.rank", 3}}, "takes a whole number from 1 to 2");
  refuse("r1", {{"r1.rank", 0}}, "takes a whole number from 1 to 2");
  refuse("r1", {{"r1.scale", std::numeric_limits<double>::quiet_NaN()}}, "takes a finite number");
  refuse("r1", {{"r1", 1}}, "expected <adapter>.scale, <adapter>.rank or <adapter>.task");
  refuse("r1", {{nullptr, 1}}, "a setting has no property");
}

TEST_F(Times, AnAdapterOfASlotTakesItsProperties) {
  std::string path = lora("a", "layers.0.up", 3, tinyHidden, tinyIn);
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "tenant"), ADAPTER_RT_OK);
  expectRow(callWith("x", {{"x.scale", 2}}), 0,
            addLora(tinyW0(), tinyHidden, tinyIn, sequence(9, 30), sequence(12, 31), 2.0 / 3), tinyW1());
  EXPECT_TRUE(callWith("x", {{"x.rank", 2}}).empty());
  failedWith("compile the model with --bind tenant.rank@call");
}

TEST_F(Times, FromLoadingToUnloading) {
  std::vector<float> before = callY(1);
  std::string path = lora("a", "layers.0.down", 2, tinyOut, tinyHidden);
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "under"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  std::vector<float> loaded = addLora(tinyW1(), tinyOut, tinyHidden, sequence(8, 30), sequence(4, 31), 0.5);
  expectRow(callY(1), 0, tinyW0(), loaded);
  expectRow(callAll(1, "r1"), 0, w0WithR1(), loaded);
  callAll(1, "x");
  failedWith("bound at load");
  EXPECT_EQ(adapter_rt_switch(model, "x"), ADAPTER_RT_INVALID);
  failedWith("acts until it is unloaded");
  // The one that is switched in acts on top, and goes alone.
  ASSERT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callY(1), 0, tinyW0(), addLora(loaded, tinyOut, tinyHidden, sequence(4, 3), sequence(2, 4), 2));
  ASSERT_EQ(adapter_rt_set(model, "x.scale", 2), ADAPTER_RT_OK) << adapter_rt_last_error();
  ASSERT_EQ(adapter_rt_switch(model, nullptr), ADAPTER_RT_OK);
  expectRow(callY(1), 0, tinyW0(),
            addLora(tinyW1(), tinyOut, tinyHidden, sequence(8, 30), sequence(4, 31), 1));
  ASSERT_EQ(adapter_rt_unload_adapter(model, "x"), ADAPTER_RT_OK);
  EXPECT_EQ(callY(1), before);
}

} // namespace
