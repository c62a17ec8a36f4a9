// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Calls, adapters by row and by switch, loading and unloading, all against numbers computed apart.
#include "test/unit/Runtime/TinyModel.h"
#include <atomic>
#include <thread>

using namespace adapter::test;

TEST_F(TinyModel, Base) {
  std::vector<float> y = callY(5);
  for (int64_t row = 0; row < 5; ++row)
    expectRow(y, row, tinyW0(), tinyW1());
  EXPECT_TRUE(callY(0).empty());
}

TEST_F(TinyModel, RowAdapters) {
  std::vector<float> y = callRows({"r1", nullptr, "r1"});
  expectRow(y, 0, w0WithR1(), tinyW1());
  expectRow(y, 1, tinyW0(), tinyW1());
  expectRow(y, 2, w0WithR1(), tinyW1());
  y = callAll(4, "r1");
  expectRow(y, 3, w0WithR1(), tinyW1());
  y = callRows({nullptr, nullptr});
  expectRow(y, 1, tinyW0(), tinyW1());
}

TEST_F(TinyModel, RowAdaptersAtFault) {
  callRows({"none"});
  failedWith("no adapter 'none'; there are: r1 (row), s1 (switch)");
  callAll(1, "s1");
  failedWith("bound at switch");
  adapter_rt_call_options options = {};
  options.struct_size = sizeof options;
  const char *names[] = {"r1"};
  options.row_adapters = names;
  options.row_count = 1;
  callY(2, &options);
  failedWith("1 adapters are named for 2 rows (axis 0 of input 'x')");
  options.adapter = "r1";
  callY(1, &options);
  failedWith("not both");
  options = {};
  options.struct_size = sizeof options;
  options.entry = "other";
  callY(1, &options);
  failedWith("no graph 'other'; there are: main");
}

TEST_F(TinyModel, Switch) {
  ASSERT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callY(1), 0, tinyW0(), w1WithS1());
  callRows({"r1"});
  failedWith("while 's1' is switched in");
  expectRow(callRows({nullptr}), 0, tinyW0(), w1WithS1());
  ASSERT_EQ(adapter_rt_switch(model, nullptr), ADAPTER_RT_OK);
  expectRow(callY(1), 0, tinyW0(), tinyW1());
  EXPECT_EQ(adapter_rt_switch(model, "r1"), ADAPTER_RT_INVALID);
  failedWith("bound at row");
  EXPECT_EQ(adapter_rt_switch(model, "none"), ADAPTER_RT_INVALID);
}

TEST_F(TinyModel, Scales) {
  ASSERT_EQ(adapter_rt_set(model, "r1.scale", 0.5), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callAll(1, "r1"), 0, w0WithR1(0.5), tinyW1());
  ASSERT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_OK);
  ASSERT_EQ(adapter_rt_set(model, "s1.scale", 3), ADAPTER_RT_OK);
  expectRow(callY(1), 0, tinyW0(), w1WithS1(3));
  ASSERT_EQ(adapter_rt_switch(model, nullptr), ADAPTER_RT_OK);
  float before = callY(1)[0];
  ASSERT_EQ(adapter_rt_set(model, "gain", 2), ADAPTER_RT_OK);
  EXPECT_FLOAT_EQ(callY(1)[0], 2 * before);
  EXPECT_EQ(adapter_rt_set(model, "loudness", 2), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_set(model, "none.scale", 2), ADAPTER_RT_INVALID);
}

TEST_F(TinyModel, LoadAndUnload) {
  std::string path = lora("a", "layers.0.up", 3, tinyHidden, tinyIn);
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "tenant"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  std::vector<float> w0 = addLora(tinyW0(), tinyHidden, tinyIn, sequence(9, 30), sequence(12, 31), 1.0 / 3);
  std::vector<float> y = callRows({"x", "r1", nullptr});
  expectRow(y, 0, w0, tinyW1());
  expectRow(y, 1, w0WithR1(), tinyW1());
  expectRow(y, 2, tinyW0(), tinyW1());
  ASSERT_EQ(adapter_rt_unload_adapter(model, "r1"), ADAPTER_RT_OK);
  EXPECT_TRUE(callRows({"r1"}).empty());
  expectRow(callRows({"x"}), 0, w0, tinyW1());
  // The name of an adapter that is there already becomes a new generation.
  path = lora("b", "model.layers.0.up", 1, tinyHidden, tinyIn);
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "tenant"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  w0 = addLora(tinyW0(), tinyHidden, tinyIn, sequence(3, 30), sequence(4, 31), 1.0);
  expectRow(callRows({"x"}), 0, w0, tinyW1());
  EXPECT_EQ(adapter_rt_unload_adapter(model, "r1"), ADAPTER_RT_INVALID);
}

TEST_F(TinyModel, LoadForSwitch) {
  std::string path = lora("a", "wrapper.model.layers.0.down", 2, tinyOut, tinyHidden);
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "swap"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  ASSERT_EQ(adapter_rt_switch(model, "x"), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callY(1), 0, tinyW0(),
            addLora(tinyW1(), tinyOut, tinyHidden, sequence(8, 30), sequence(4, 31), 0.5));
  EXPECT_EQ(adapter_rt_unload_adapter(model, "x"), ADAPTER_RT_INVALID);
  failedWith("switched in");
  EXPECT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "swap"), ADAPTER_RT_INVALID);
}

TEST_F(TinyModel, ReplacedWeightsTakeALora) {
  folder.write("a/adapter_config.json",
               R"({"peft_type": "LORA", "r": 1, "lora_alpha": 1, "target_modules": ["up", "down"]})");
  std::vector<adapter::checkpoint::Tensor> up = {
      floats("base_model.model.layers.0.up.base_layer.weight", {tinyHidden, tinyIn}, sequence(12, 40)),
      floats("base_model.model.layers.0.up.lora_A.weight", {1, tinyIn}, sequence(3, 41)),
      floats("base_model.model.layers.0.up.lora_B.weight", {tinyHidden, 1}, sequence(4, 42))};
  ASSERT_TRUE(adapter::checkpoint::writeSafetensors(folder / "a/adapter_model.safetensors", up));
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", (folder / "a").c_str(), "tenant"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  std::vector<float> y = callRows({"x", nullptr});
  expectRow(y, 0, addLora(sequence(12, 40), tinyHidden, tinyIn, sequence(3, 41), sequence(4, 42), 1),
            tinyW1());
  expectRow(y, 1, tinyW0(), tinyW1());
  std::vector<adapter::checkpoint::Tensor> down = {
      floats("base_model.model.layers.0.down.base_layer.weight", {tinyOut, tinyHidden}, sequence(8, 40)),
      floats("base_model.model.layers.0.down.lora_A.weight", {1, tinyHidden}, sequence(4, 41)),
      floats("base_model.model.layers.0.down.lora_B.weight", {tinyOut, 1}, sequence(2, 42))};
  ASSERT_TRUE(adapter::checkpoint::writeSafetensors(folder / "a/adapter_model.safetensors", down));
  ASSERT_EQ(adapter_rt_load_adapter(model, "z", (folder / "a").c_str(), "swap"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  ASSERT_EQ(adapter_rt_switch(model, "z"), ADAPTER_RT_OK);
  expectRow(callY(1), 0, tinyW0(),
            addLora(sequence(8, 40), tinyOut, tinyHidden, sequence(4, 41), sequence(2, 42), 1));
}

TEST_F(TinyModel, ALoadedCheckpointMayBeOverwritten) {
  std::string path = lora("a", "model.layers.0.down", 2, tinyOut, tinyHidden);
  ASSERT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "swap"), ADAPTER_RT_OK)
      << adapter_rt_last_error();
  std::filesystem::resize_file(folder / "a/adapter_model.safetensors", 0);
  ASSERT_EQ(adapter_rt_switch(model, "x"), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callY(1), 0, tinyW0(),
            addLora(tinyW1(), tinyOut, tinyHidden, sequence(8, 30), sequence(4, 31), 0.5));
}

TEST_F(TinyModel, LoadAtFault) {
  auto refuse = [&](const std::string &path, const char *slot, const char *part) {
    EXPECT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), slot), ADAPTER_RT_INVALID);
    failedWith(part);
  };
  std::string good = lora("a", "layers.0.up", 3, tinyHidden, tinyIn);
  refuse(good, nullptr, "several slots, so that one must be named: tenant, swap");
  refuse(good, "other", "no slot 'other'");
  refuse(good, "swap", "no room for 'layers.0.up.weight'; it has room at: model.layers.0.down.weight");
  refuse(lora("b", "layers.1.up", 3, tinyHidden, tinyIn), "tenant", "no room for 'layers.1.up.weight'");
  refuse(lora("c", "layers.0.up", 5, tinyHidden, tinyIn), "tenant", "takes ranks up to 4");
  refuse(lora("d", "layers.0.up", 3, tinyHidden, tinyIn + 1), "tenant", "expected [r, cols] = [r, 3]");
  refuse(lora("e", "layers.0.up", 3, tinyHidden + 1, tinyIn), "tenant", "expected [out, r] = [4, 3]");
  refuse(folder / "none", "tenant", "does not exist");
  EXPECT_EQ(adapter_rt_load_adapter(model, "-", good.c_str(), "tenant"), ADAPTER_RT_INVALID);
  // Nothing of it is left.
  EXPECT_TRUE(callRows({"x"}).empty());
  expectRow(callRows({"r1"}), 0, w0WithR1(), tinyW1());
}

// Changes run beside calls; each call sees one state, whole.
TEST_F(TinyModel, CallsAndChangesAtTheSameTime) {
  std::string path = lora("a", "layers.0.up", 3, tinyHidden, tinyIn);
  std::vector<float> base = callY(5), with = callAll(5, "r1");
  ASSERT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_OK);
  std::vector<float> switched = callY(5);
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, calls{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 3; ++i)
    callers.emplace_back([&, i] {
      while (!stop) {
        std::vector<float> y = i ? callY(5) : callAll(5, "r1");
        // While s1 is switched in, r1 is refused.
        if (i ? y != base && y != switched : !y.empty() && y != with)
          ++wrong;
        ++calls;
      }
    });
  for (int i = 0; i < 200 || calls < 200; ++i) {
    EXPECT_EQ(adapter_rt_switch(model, i % 2 ? "s1" : nullptr), ADAPTER_RT_OK);
    EXPECT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "tenant"), ADAPTER_RT_OK)
        << adapter_rt_last_error();
    EXPECT_EQ(adapter_rt_unload_adapter(model, "x"), ADAPTER_RT_OK);
  }
  stop = true;
  for (std::thread &caller : callers)
    caller.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(TinyModel, AWarmModelObtainsNoMemory) {
  auto memory = [&] {
    char *json = nullptr;
    EXPECT_EQ(adapter_rt_info(model, &json), ADAPTER_RT_OK);
    std::string text = json;
    adapter_rt_free(json);
    return text.substr(text.find("\"memory\""));
  };
  open(1);
  callAll(5, "r1");
  std::string before = memory();
  for (int i = 0; i < 50; ++i)
    callAll(5, "r1");
  EXPECT_EQ(memory(), before);
}

TEST_F(TinyModel, MemoryLimitIsHonoured) {
  open(2, 4096);
  x = sequence(5000 * tinyIn, 1);
  int64_t dims[] = {5000, tinyIn};
  adapter_rt_tensor input = {"x", x.data(), dims, 2, 1};
  adapter_rt_result *result = nullptr;
  EXPECT_EQ(adapter_rt_call(model, &input, 1, nullptr, &result), ADAPTER_RT_OUT_OF_MEMORY);
  EXPECT_EQ(result, nullptr);
  expectRow(callY(1), 0, tinyW0(), tinyW1());
}
