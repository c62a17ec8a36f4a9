// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Opens and calls the tiny artifact through the C API.
#ifndef ADAPTER_TEST_UNIT_RUNTIME_TINYMODEL_H
#define ADAPTER_TEST_UNIT_RUNTIME_TINYMODEL_H

#include "adapter-rt/runtime.h"
#include "lib/Checkpoint/Safetensors.h"
#include "test/unit/Runtime/Tiny.h"
#include "test/unit/TempFolder.h"
#include <gtest/gtest.h>

namespace adapter::test {

class TinyModel : public ::testing::Test {
protected:
  TempFolder folder;
  adapter_rt_model *model = nullptr;
  std::vector<float> x = sequence(5 * tinyIn, 20);

  void SetUp() override { open(); }
  void TearDown() override { adapter_rt_close(model); }
  void open(int threads = 2, int64_t limit = 0) {
    adapter_rt_close(model);
    adapter_rt_open_options options = {sizeof options, threads, limit, nullptr, 0};
    ASSERT_EQ(adapter_rt_open(TINY_ARTIFACT, &options, &model), ADAPTER_RT_OK) << adapter_rt_last_error();
  }

  // y of the first `rows` rows of x, or nothing with adapter_rt_last_error().
  std::vector<float> callY(int64_t rows, const adapter_rt_call_options *options = nullptr) {
    int64_t dims[] = {rows, tinyIn};
    adapter_rt_tensor input = {"x", x.data(), dims, 2, 1};
    adapter_rt_result *result = nullptr;
    if (adapter_rt_call(model, &input, 1, options, &result) != ADAPTER_RT_OK)
      return {};
    adapter_rt_tensor y;
    EXPECT_EQ(adapter_rt_result_get(result, 0, &y), ADAPTER_RT_OK);
    EXPECT_STREQ(y.name, "y");
    const auto *data = static_cast<const float *>(y.data);
    std::vector<float> copy(data, data + rows * tinyOut);
    adapter_rt_result_free(result);
    return copy;
  }
  std::vector<float> callAll(int64_t rows, const char *adapter) {
    adapter_rt_call_options options = {};
    options.struct_size = sizeof options;
    options.adapter = adapter;
    return callY(rows, &options);
  }
  std::vector<float> callRows(const std::vector<const char *> &names) {
    adapter_rt_call_options options = {};
    options.struct_size = sizeof options;
    options.row_adapters = names.data();
    options.row_count = names.size();
    return callY(static_cast<int64_t>(names.size()), &options);
  }
  // Writes a LoRA folder for one module and returns its path.
  std::string lora(const std::string &name, const std::string &module, int64_t rank, int64_t out,
                   int64_t in) {
    folder.write(name + "/adapter_config.json",
                 "{\"peft_type\": \"LORA\", \"r\": " + std::to_string(rank) +
                     ", \"lora_alpha\": 1, \"target_modules\": \"all-linear\"}");
    EXPECT_TRUE(checkpoint::writeSafetensors(
        folder / (name + "/adapter_model.safetensors"),
        {floats("base_model.model." + module + ".lora_A.weight", {rank, in}, sequence(rank * in, 30)),
         floats("base_model.model." + module + ".lora_B.weight", {out, rank}, sequence(out * rank, 31))}));
    return folder / name;
  }
  void expectRow(const std::vector<float> &y, int64_t row, const std::vector<float> &w0,
                 const std::vector<float> &w1) {
    ASSERT_GE(static_cast<int64_t>(y.size()), (row + 1) * tinyOut) << adapter_rt_last_error();
    std::vector<float> want = tinyRow(x.data() + row * tinyIn, w0, w1);
    for (int64_t i = 0; i < tinyOut; ++i)
      EXPECT_NEAR(y[row * tinyOut + i], want[i], 1e-5) << "row " << row;
  }
  static bool failedWith(const char *part) {
    bool found = std::string(adapter_rt_last_error()).find(part) != std::string::npos;
    EXPECT_TRUE(found) << adapter_rt_last_error();
    return found;
  }
};

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_RUNTIME_TINYMODEL_H
