// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Damage that opening does not see: what calls and changes say once it is found.
#include "test/unit/Runtime/TinyModel.h"

using namespace adapter::test;

class Damage : public TinyModel {
protected:
  void SetUp() override {
    std::filesystem::copy(TINY_ARTIFACT, folder / "x", std::filesystem::copy_options::recursive);
  }
  // The last byte of a file's first tensor; the file is a new one.
  void flip(const std::string &name) {
    std::string bytes = folder.read(name);
    uint64_t header;
    std::memcpy(&header, bytes.data(), 8);
    bytes[header + 8 + 15] ^= 64;
    std::filesystem::remove(folder / name);
    folder.write(name, bytes);
  }
  void openIt(bool checks = true) {
    adapter_rt_open_options options = {sizeof options, 1, 0, nullptr, !checks};
    ASSERT_EQ(adapter_rt_open((folder / "x").c_str(), &options, &model), ADAPTER_RT_OK)
        << adapter_rt_last_error();
  }
  // Whether a damaged artifact opens: where the check is faster than opening, that is what says so.
  bool opensDamaged() {
    adapter_rt_open_options options = {sizeof options, 1, 0, nullptr, 0};
    if (adapter_rt_open((folder / "x").c_str(), &options, &model) == ADAPTER_RT_OK)
      return true;
    failedWith("parameters.safetensors: tensor 'model.layers.0.up' was changed since it was compiled");
    return false;
  }
  adapter_rt_check progress() {
    adapter_rt_check progress = ADAPTER_RT_CHECK_OFF;
    EXPECT_EQ(adapter_rt_check_progress(model, &progress), ADAPTER_RT_OK);
    return progress;
  }
  void waitForTheThread() {
    for (int i = 0; i < 10000 && progress() == ADAPTER_RT_CHECK_RUNNING; ++i)
      usleep(1000);
  }
};

TEST_F(Damage, NothingWorksOnceItIsFound) {
  flip("x/parameters.safetensors");
  if (!opensDamaged())
    return;
  waitForTheThread();
  EXPECT_EQ(progress(), ADAPTER_RT_CHECK_FAILED);
  std::string part = "parameters.safetensors: tensor 'model.layers.0.up' was changed since it was compiled";
  EXPECT_TRUE(callY(1).empty());
  failedWith(part.c_str());
  std::string path = lora("a", "layers.0.up", 3, tinyHidden, tinyIn);
  EXPECT_EQ(adapter_rt_load_adapter(model, "x", path.c_str(), "tenant"), ADAPTER_RT_INVALID);
  failedWith(part.c_str());
  for (adapter_rt_status status :
       {adapter_rt_switch(model, "s1"), adapter_rt_switch(model, nullptr),
        adapter_rt_set(model, "r1.scale", 2), adapter_rt_unload_adapter(model, "r1"),
        adapter_rt_finish_check(model), adapter_rt_verify(model)}) {
    EXPECT_EQ(status, ADAPTER_RT_INVALID);
  }
  failedWith(part.c_str());
}

TEST_F(Damage, OtherModelsDoNotMind) {
  flip("x/parameters.safetensors");
  adapter_rt_model *other = nullptr;
  ASSERT_EQ(adapter_rt_open(TINY_ARTIFACT, nullptr, &other), ADAPTER_RT_OK);
  if (opensDamaged())
    EXPECT_EQ(adapter_rt_finish_check(model), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_finish_check(other), ADAPTER_RT_OK) << adapter_rt_last_error();
  std::swap(model, other);
  expectRow(callY(1), 0, tinyW0(), tinyW1());
  waitForTheThread();
  EXPECT_EQ(progress(), ADAPTER_RT_CHECK_PASSED);
  std::swap(model, other);
  adapter_rt_close(other);
}

TEST_F(Damage, UnseenWithoutACheck) {
  flip("x/parameters.safetensors");
  openIt(/*checks=*/false);
  EXPECT_EQ(callY(1).size(), 2u);
  EXPECT_EQ(progress(), ADAPTER_RT_CHECK_OFF);
  EXPECT_EQ(adapter_rt_finish_check(model), ADAPTER_RT_INVALID);
  EXPECT_TRUE(callY(1).empty());
}

// An adapter's file is compared before it is read, whether there is a check or not.
TEST_F(Damage, OfAnAdapter) {
  flip("x/adapters/s1.safetensors");
  openIt(/*checks=*/false);
  expectRow(callY(1), 0, tinyW0(), tinyW1());
  EXPECT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_INVALID);
  failedWith("adapters/s1.safetensors: tensor '0.A' was changed");
  flip("x/adapters/r1.safetensors");
  adapter_rt_model *other = nullptr;
  adapter_rt_open_options options = {sizeof options, 1, 0, nullptr, 1};
  EXPECT_EQ(adapter_rt_open((folder / "x").c_str(), &options, &other), ADAPTER_RT_INVALID);
  failedWith("adapters/r1.safetensors: tensor '0.A' was changed");
}

// Pages that a switch writes are copies: they neither look like damage nor hide it.
TEST_F(Damage, SwitchingIsNone) {
  openIt();
  ASSERT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_OK) << adapter_rt_last_error();
  EXPECT_EQ(adapter_rt_finish_check(model), ADAPTER_RT_OK) << adapter_rt_last_error();
  EXPECT_EQ(adapter_rt_verify(model), ADAPTER_RT_OK) << adapter_rt_last_error();
  expectRow(callY(1), 0, tinyW0(), w1WithS1());
}

TEST_F(Damage, BehindASwitchedWeight) {
  flip("x/parameters.safetensors");
  openIt(/*checks=*/false);
  ASSERT_EQ(adapter_rt_switch(model, "s1"), ADAPTER_RT_OK) << adapter_rt_last_error();
  EXPECT_EQ(adapter_rt_finish_check(model), ADAPTER_RT_INVALID);
  EXPECT_TRUE(callY(1).empty());
}

TEST_F(Damage, ThatComesWhileTheModelIsOpen) {
  openIt();
  EXPECT_EQ(adapter_rt_finish_check(model), ADAPTER_RT_OK) << adapter_rt_last_error();
  std::fstream file(folder / "x/parameters.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-40, std::ios::end);
  file << '?';
  file.close();
  EXPECT_EQ(adapter_rt_verify(model), ADAPTER_RT_INVALID);
  EXPECT_TRUE(callY(1).empty());
}
