// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// The C API's checks of arguments and inputs, and its results.
#include "adapter-rt/artifact.h"
#include "test/unit/Runtime/TinyModel.h"
#include <cstddef>

using namespace adapter::test;

TEST_F(TinyModel, InputsAtFault) {
  int64_t good[] = {2, tinyIn}, wide[] = {2, 4}, flat[] = {6}, negative[] = {-2, tinyIn};
  auto refuse = [&](std::vector<adapter_rt_tensor> inputs, const char *part) {
    adapter_rt_result *result = nullptr;
    EXPECT_EQ(adapter_rt_call(model, inputs.data(), inputs.size(), nullptr, &result), ADAPTER_RT_INVALID);
    failedWith(part);
    EXPECT_EQ(result, nullptr);
  };
  refuse({}, "input 'x' is missing; the inputs are: x: float32 [batch, 3]");
  refuse({{"x", x.data(), wide, 2, 1}}, "input 'x': expected float32 [batch, 3], got float32 [2, 4]");
  refuse({{"x", x.data(), flat, 1, 1}}, "got float32 [6]");
  refuse({{"x", x.data(), good, 2, 7}}, "got int64 [2, 3]");
  refuse({{"x", x.data(), negative, 2, 1}}, "got float32 [-2, 3]");
  refuse({{"x", x.data(), good, 2, 99}}, "got type 99");
  refuse({{"x", nullptr, good, 2, 1}}, "has no data");
  refuse({{nullptr, x.data(), good, 2, 1}}, "has no name");
  refuse({{"x", x.data(), good, 99, 1}}, "rank");
  refuse({{"x", x.data(), good, 2, 1}, {"x", x.data(), good, 2, 1}}, "given twice");
  refuse({{"x", x.data(), good, 2, 1}, {"z", x.data(), good, 2, 1}}, "no input 'z'");
}

TEST_F(TinyModel, NullArguments) {
  adapter_rt_result *result = nullptr;
  EXPECT_EQ(adapter_rt_open(nullptr, nullptr, &model), ADAPTER_RT_INVALID);
  adapter_rt_model *other = nullptr;
  EXPECT_EQ(adapter_rt_open(TINY_ARTIFACT, nullptr, nullptr), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_call(nullptr, nullptr, 0, nullptr, &result), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_call(model, nullptr, 1, nullptr, &result), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_switch(nullptr, "a"), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_load_adapter(model, nullptr, nullptr, nullptr), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_verify(nullptr), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_finish_check(nullptr), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_check_progress(model, nullptr), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_info(model, nullptr), ADAPTER_RT_INVALID);
  EXPECT_EQ(adapter_rt_result_count(nullptr), 0u);
  adapter_rt_result_free(nullptr);
  adapter_rt_close(other);
}

// What was compiled before a structure grew says so by its size.
TEST_F(TinyModel, StructuresThatGrew) {
  adapter_rt_call_options options = {};
  options.struct_size = offsetof(adapter_rt_call_options, routed);
  // Not to be read.
  options.routed = [](void *, int32_t, int64_t, int64_t, const int64_t *) { FAIL(); };
  EXPECT_EQ(callY(2, &options), callY(2));
  options.struct_size = 8;
  EXPECT_TRUE(callY(2, &options).empty());
  failedWith("struct_size is too small");
  adapter_rt_model *other = nullptr;
  adapter_rt_open_options open = {offsetof(adapter_rt_open_options, collectives), 1, 0, nullptr, 0};
  open.no_check = 1; // not to be read
  EXPECT_EQ(adapter_rt_open(TINY_ARTIFACT, &open, &other), ADAPTER_RT_OK);
  adapter_rt_check progress = ADAPTER_RT_CHECK_OFF;
  EXPECT_EQ(adapter_rt_check_progress(other, &progress), ADAPTER_RT_OK);
  EXPECT_NE(progress, ADAPTER_RT_CHECK_OFF);
  adapter_rt_close(other);
  open.struct_size -= 1;
  EXPECT_EQ(adapter_rt_open(TINY_ARTIFACT, &open, &other), ADAPTER_RT_INVALID);
}

TEST_F(TinyModel, OneProcessForOne) {
  adapter_collectives_v1 two = {};
  two.struct_size = sizeof two;
  two.size = 2;
  adapter_rt_open_options options = {sizeof options, 1, 0, &two, 0};
  adapter_rt_close(model);
  model = nullptr;
  ASSERT_EQ(adapter_rt_open(TINY_ARTIFACT, &options, &model), ADAPTER_RT_OK);
  EXPECT_TRUE(callY(2).empty());
  failedWith("compiled for one process, and there are 2");
  two.struct_size = 4;
  adapter_rt_model *other = nullptr;
  EXPECT_EQ(adapter_rt_open(TINY_ARTIFACT, &options, &other), ADAPTER_RT_INVALID);
  failedWith("collectives->struct_size");
}

TEST_F(TinyModel, ResultsOutliveTheModel) {
  int64_t dims[] = {2, tinyIn};
  adapter_rt_tensor input = {"x", x.data(), dims, 2, 1};
  adapter_rt_result *result = nullptr;
  ASSERT_EQ(adapter_rt_call(model, &input, 1, nullptr, &result), ADAPTER_RT_OK);
  std::vector<float> y = callY(2);
  adapter_rt_close(model);
  model = nullptr;
  ASSERT_EQ(adapter_rt_result_count(result), 2u);
  adapter_rt_tensor first, second;
  ASSERT_EQ(adapter_rt_result_get(result, 0, &first), ADAPTER_RT_OK);
  ASSERT_EQ(adapter_rt_result_get(result, 1, &second), ADAPTER_RT_OK);
  EXPECT_EQ(adapter_rt_result_get(result, 2, &second), ADAPTER_RT_INVALID);
  EXPECT_STREQ(second.name, "a sum");
  EXPECT_EQ(second.rank, 1);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first.data) % 64, 0u);
  EXPECT_EQ(static_cast<const float *>(first.data)[3], y[3]);
  EXPECT_FLOAT_EQ(static_cast<const float *>(second.data)[1], y[2] + y[3]);
  adapter_rt_result_free(result);
}

TEST_F(TinyModel, TheCodeSaysWhyItFails) {
  x[0] = 12345;
  EXPECT_TRUE(callY(1).empty());
  EXPECT_STREQ(adapter_rt_last_error(), "12345 is not wanted, nor -1; {2}, {x} and { are");
}

TEST_F(TinyModel, UnalignedInputs) {
  std::vector<char> bytes(2 * tinyIn * 4 + 1);
  std::memcpy(bytes.data() + 1, x.data(), 2 * tinyIn * 4);
  int64_t dims[] = {2, tinyIn};
  adapter_rt_tensor input = {"x", bytes.data() + 1, dims, 2, 1};
  adapter_rt_result *result = nullptr;
  ASSERT_EQ(adapter_rt_call(model, &input, 1, nullptr, &result), ADAPTER_RT_OK);
  adapter_rt_result_free(result);
}

TEST_F(TinyModel, InfoAndAdapters) {
  char *json = nullptr;
  ASSERT_EQ(adapter_rt_info(model, &json), ADAPTER_RT_OK);
  EXPECT_NE(std::string(json).find("\"row_input\": \"x\""), std::string::npos) << json;
  adapter_rt_free(json);
  ASSERT_EQ(adapter_rt_adapters(model, &json), ADAPTER_RT_OK);
  EXPECT_NE(std::string(json).find("\"name\": \"s1\""), std::string::npos) << json;
  adapter_rt_free(json);
  EXPECT_EQ(adapter_rt_verify(model), ADAPTER_RT_OK) << adapter_rt_last_error();
}
