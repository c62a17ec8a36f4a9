// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Sparse adapters: PEFT's SHiRA, and the folders of adapter-opt diff.
#include "lib/Checkpoint/DType.h"
#include "test/unit/Checkpoint/PeftFolder.h"
#include <cstring>

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class Shira : public PeftFolder {
protected:
  void SetUp() override {
    config = {{"peft_type", "SHIRA"}, {"r", 1}, {"target_modules", {"q_proj"}}, {"mask_type", "random"}};
    tensors = {tensor<float>(DType::F32, q + ".shira_weight", {3}, {1, 2, 3}),
               tensor<int32_t>(DType::I32, q + ".shira_indices", {2, 3}, {2, 0, 2, 1, 3, 0})};
  }
  void indices(std::vector<int32_t> values) {
    tensors[1] = tensor<int32_t>(DType::I32, q + ".shira_indices", {2, 3}, std::move(values));
  }
};

void expectSorted(const std::vector<Update> &all) {
  ASSERT_EQ(all.size(), 1u);
  const Update &update = all[0];
  EXPECT_EQ(update.module, "model.layers.0.q_proj");
  EXPECT_EQ(update.parameter, "weight");
  EXPECT_EQ(update.form, "sparse");
  const Tensor &at = update.tensors.at("indices"), &values = update.tensors.at("values");
  EXPECT_EQ(at.dtype, DType::I64);
  const int64_t *index = reinterpret_cast<const int64_t *>(at.data);
  EXPECT_EQ(std::vector<int64_t>(index, index + 6), (std::vector<int64_t>{0, 2, 2, 3, 0, 1}));
  const float *value = reinterpret_cast<const float *>(values.data);
  EXPECT_EQ(std::vector<float>(value, value + 3), (std::vector<float>{2, 3, 1}));
}

} // namespace

TEST_F(Shira, EntriesAreSorted) { expectSorted(updates()); }

TEST_F(Shira, IndicesSavedAsFloats) {
  tensors[1] = tensor<float>(DType::F32, q + ".shira_indices", {2, 3}, {2, 0, 2, 1, 3, 0});
  expectSorted(updates());
  tensors[1] = tensor<float>(DType::F32, q + ".shira_indices", {2, 3}, {2, 0, 2.5, 1, 3, 0});
  EXPECT_ERROR("is no index");
}

TEST_F(Shira, RepeatedAndNegativeIndices) {
  indices({2, 0, 2, 1, 3, 1});
  EXPECT_ERROR("names [2, 1] twice");
  indices({2, 0, -2, 1, 3, 0});
  EXPECT_ERROR("holds the index -2");
}

TEST_F(Shira, ShapesThatDoNotFit) {
  tensors[1] = tensor<int32_t>(DType::I32, q + ".shira_indices", {2, 2}, {2, 0, 1, 3});
  EXPECT_ERROR("expected [2, 3]");
}

TEST_F(Shira, Counterparts) {
  Tensor values = tensors[0];
  tensors.erase(tensors.begin());
  EXPECT_ERROR("has no counterpart shira_weight");
  tensors = {values};
  EXPECT_ERROR("has no counterpart shira_indices");
}

TEST_F(Shira, Configuration) {
  config["target_modules"] = {"k_proj"};
  EXPECT_ERROR("does not fit its configuration");
  config["target_modules"] = {"q_proj"};
  config["r"] = 0;
  EXPECT_ERROR("'r' is no positive integer");
  config["r"] = 1;
  config["use_dora"] = true;
  EXPECT_ERROR("'use_dora' is unknown");
  config.erase("use_dora");
  tensors.push_back(counting(q + ".lora_A.weight", {2, 4}));
  EXPECT_ERROR("has no place in an adapter of type shira");
}

TEST_F(Shira, SparseFolders) {
  config = {{"peft_type", "ADAPTER_OPT_SPARSE"}, {"mode", "overwrite"}};
  tensors = {tensor<float>(DType::F32, "conv.weight.sparse_values", {2}, {1, 2}),
             tensor<int32_t>(DType::I32, "conv.weight.sparse_indices", {4, 2}, {1, 0, 0, 2, 1, 1, 0, 0})};
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].module, "conv");
  EXPECT_EQ(all[0].form, "overwrite");
  config["mode"] = "multiply";
  EXPECT_ERROR("expected add or overwrite");
}
