// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Keys of PEFT's files with an adapter's name or wrappers of training in them, and buffers of saved modules.
#include "lib/Checkpoint/PeftKeys.h"
#include "test/unit/Checkpoint/PeftFolder.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

using PeftKeys = PeftFolder;

TEST_F(PeftKeys, NamesOfAdapters) {
  config["use_dora"] = config["lora_bias"] = true;
  config["target_modules"] = {"q_proj", "wte"};
  config["trainable_token_indices"] = {3, 4};
  const std::string wte = "base_model.model.wte";
  tensors = {counting(q + ".lora_A.default.weight", {2, 4}),
             counting(q + ".lora_B.default.weight", {3, 2}),
             counting(q + ".lora_B.default.bias", {3}),
             counting(q + ".lora_magnitude_vector.default.weight", {3}),
             counting(wte + ".lora_embedding_A.default", {2, 9}),
             counting(wte + ".lora_embedding_B.default", {5, 2}),
             counting(wte + ".lora_magnitude_vector.default", {5}),
             counting("base_model.model.head.token_adapter.trainable_tokens_delta.default", {2, 2})};
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[0].form, "rows");
  EXPECT_EQ(all[1].module, "model.layers.0.q_proj");
  EXPECT_EQ(all[1].form, "lora");
  EXPECT_TRUE(all[1].tensors.count("magnitude"));
  EXPECT_EQ(all[2].form, "add");
  EXPECT_EQ(all[3].module, "wte");
  EXPECT_EQ(all[3].form, "lora");
  EXPECT_TRUE(all[3].tensors.count("magnitude"));
}

TEST_F(PeftKeys, TwoNamesInOneFile) {
  tensors = {counting(q + ".lora_A.one.weight", {2, 4}), counting(q + ".lora_B.one.weight", {3, 2}),
             counting(q + ".lora_A.two.weight", {2, 4}), counting(q + ".lora_B.two.weight", {3, 2})};
  EXPECT_ERROR("is of an adapter 'two'");
  EXPECT_ERROR("of 'one': two adapters in one file");
  config["modules_to_save"] = {"head"};
  tensors.resize(2);
  tensors.push_back(counting("base_model.model.head.modules_to_save.two.weight", {2, 2}));
  EXPECT_ERROR("selected_adapters=['one']");
  tensors.back() = counting("base_model.model.head.modules_to_save.one.weight", {2, 2});
  EXPECT_EQ(error(), "no error");
}

TEST_F(PeftKeys, TheSameWithAndWithoutAName) {
  lora(q);
  tensors.push_back(counting(q + ".lora_A.default.weight", {2, 4}));
  EXPECT_ERROR("says the same as '" + q + ".lora_A.weight'");
  tensors.pop_back();
  config["modules_to_save"] = {"head"};
  tensors.push_back(counting("base_model.model.head.modules_to_save.default.weight", {2, 2}));
  tensors.push_back(counting("base_model.model.head.modules_to_save.weight", {2, 2}));
  EXPECT_ERROR("says the same as");
}

TEST_F(PeftKeys, OtherMethodsHaveNamesToo) {
  config = {{"peft_type", "SHIRA"}, {"r", 1}, {"target_modules", {"q_proj"}}};
  tensors = {counting(q + ".shira_weight.default", {2}),
             tensor<int32_t>(DType::I32, q + ".shira_indices.default", {2, 2}, {0, 1, 0, 2})};
  EXPECT_EQ(updates().at(0).module, "model.layers.0.q_proj");
  config = {{"peft_type", "POLY"},    {"r", 2},        {"n_tasks", 1},
            {"n_skills", 1},          {"n_splits", 1}, {"poly_type", "poly"},
            {"target_modules", {"q"}}};
  tensors = {counting("base_model.model.q.poly_lora_A.default", {1, 1, 4, 2}),
             counting("base_model.model.q.poly_lora_B.default", {1, 1, 2, 3}),
             counting("base_model.model.q.poly_router.default.module_logits", {1, 1})};
  EXPECT_EQ(updates().at(0).module, "q");
}

TEST(PeftKey, Wrappers) {
  for (const char *key :
       {"base_model.model.a.b.weight", "a.b.weight", "module.base_model.model.a.b.weight",
        "base_model.model.module.a.b.weight", "_orig_mod.base_model.model.module._orig_mod.a.b.weight",
        "base_model.model._fsdp_wrapped_module.a._checkpoint_wrapped_module.b.weight",
        "base_model.model.a.b._orig_mod.weight"})
    EXPECT_EQ(withoutWrappers(key), "a.b.weight") << key;
  // Whole components alone, and "module" in front alone.
  for (const char *key :
       {"a.module.weight", "a.my_orig_mod.weight", "modules.b.weight", "a._orig_mod", "", "."})
    EXPECT_EQ(withoutWrappers(key), key);
}

TEST_F(PeftKeys, WrappersAroundModules) {
  lora("base_model.model._orig_mod.model.layers.0._checkpoint_wrapped_module.q_proj");
  EXPECT_EQ(updates().at(0).module, "model.layers.0.q_proj");
  // The configuration may name the module with them, or without.
  config["target_modules"] = R"(_orig_mod\.model\..*\.q_proj)";
  EXPECT_EQ(updates().size(), 1u);
  config["target_modules"] = R"(model\..*\.q_proj)";
  EXPECT_EQ(updates().size(), 1u);
  config["target_modules"] = R"(.*\.k_proj)";
  EXPECT_ERROR("target_modules does not name it");
  config["target_modules"] = {"q_proj"};
  lora(q);
  EXPECT_ERROR("says the same as 'base_model.model._orig_mod.model");
}

TEST_F(PeftKeys, BuffersOfSavedModules) {
  config["modules_to_save"] = {"bn", "embeddings"};
  lora(q);
  for (const char *name : {"weight", "bias", "running_mean", "running_var"})
    tensors.push_back(counting(std::string("base_model.model.bn.") + name, {3}));
  tensors.push_back(tensor<int64_t>(DType::I64, "base_model.model.bn.num_batches_tracked", {}, {7}));
  tensors.push_back(
      tensor<int64_t>(DType::I64, "base_model.model.embeddings.position_ids", {1, 3}, {0, 1, 2}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 5u);
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(all[i].module, "bn");
    EXPECT_EQ(all[i].form, "replace");
  }
  tensors.back() = tensor<int64_t>(DType::I64, "base_model.model.embeddings.position_ids", {1, 3}, {0, 1, 3});
  EXPECT_ERROR("embeddings.position_ids' is int64");
  tensors.back() = tensor<int64_t>(DType::I64, "base_model.model.embeddings.num_batches_tracked", {}, {1});
  EXPECT_ERROR("embeddings.num_batches_tracked' is int64");
  tensors.back() = tensor<int64_t>(DType::I64, "base_model.model.other.position_ids", {1}, {0});
  EXPECT_ERROR("other.position_ids' is int64");
  tensors.back() = tensor<uint8_t>(DType::U8, "base_model.model.bn.weight_packed", {1}, {0});
  EXPECT_ERROR("bn.weight_packed' is uint8");
}
