// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What readAdapter makes of LoRA folders. Names and shapes are those that PEFT 0.21 writes.
#include "test/unit/Checkpoint/PeftFolder.h"
#include <cmath>

using namespace adapter::checkpoint;
using namespace adapter::test;

TEST_F(PeftFolder, Plain) {
  lora(q);
  Result<Adapter> adapter = read();
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_EQ(adapter->method, "lora");
  EXPECT_EQ(adapter->hash.size(), 32u);
  ASSERT_EQ(adapter->updates.size(), 1u);
  const Update &update = adapter->updates[0];
  EXPECT_EQ(update.module, "model.layers.0.q_proj");
  EXPECT_EQ(update.parameter, "weight");
  EXPECT_EQ(update.form, "lora");
  EXPECT_EQ(update.scale, 3.0);
  EXPECT_EQ(update.rank, 2);
  EXPECT_FALSE(update.transposed);
  EXPECT_FALSE(update.tied);
  EXPECT_EQ(update.tensors.at("A").shape, (std::vector<int64_t>{2, 4}));
  EXPECT_EQ(update.tensors.at("B").shape, (std::vector<int64_t>{3, 2}));
  EXPECT_TRUE(readAdapter(folder / "adapter_model.safetensors"));
}

TEST_F(PeftFolder, HashDependsOnTensorsAndConfiguration) {
  lora(q);
  std::string first = read()->hash;
  EXPECT_EQ(read()->hash, first);
  config["lora_alpha"] = 7;
  EXPECT_NE(read()->hash, first);
}

TEST_F(PeftFolder, Scales) {
  config["use_rslora"] = true;
  config["fan_in_fan_out"] = true;
  lora(q);
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_DOUBLE_EQ(all[0].scale, 6 / std::sqrt(2.0));
  EXPECT_TRUE(all[0].transposed);
}

TEST_F(PeftFolder, PatternsFirstMatchWins) {
  config["target_modules"] = {"q_proj", "k_proj"};
  // "x.q_proj" is a regular expression here: its dot matches any character.
  config["rank_pattern"] = {{"layers.0.q_proj", 3}, {"q_proj", 4}};
  config["alpha_pattern"] = {{"k_proj", 1}, {"^model.layers.[12].q_proj", 10}};
  lora(q, 3);
  lora("base_model.model.model.layers.1.q_proj", 4);
  lora("base_model.model.model.layers.0.k_proj", 2);
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].module, "model.layers.0.k_proj");
  EXPECT_DOUBLE_EQ(all[0].scale, 1.0 / 2);
  EXPECT_DOUBLE_EQ(all[1].scale, 6.0 / 3);
  // With "^" the prefix (.*\.)? must be empty.
  EXPECT_DOUBLE_EQ(all[2].scale, 10.0 / 4);
}

TEST_F(PeftFolder, PatternMatchesWholeComponents) {
  config["target_modules"] = "all-linear";
  config["alpha_pattern"] = {{"proj", 1}};
  lora(q);
  EXPECT_DOUBLE_EQ(updates()[0].scale, 3.0);
}

TEST_F(PeftFolder, DoraWithBothNames) {
  config["use_dora"] = true;
  config["target_modules"] = {"q_proj", "conv"};
  lora(q);
  tensors.push_back(counting(q + ".lora_magnitude_vector", {3}));
  tensors.push_back(counting("base_model.model.conv.lora_A.weight", {2, 3, 5, 5}));
  tensors.push_back(counting("base_model.model.conv.lora_B.weight", {7, 2, 1, 1}));
  tensors.push_back(counting("base_model.model.conv.lora_magnitude_vector.weight", {1, 7, 1, 1}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].form, "lora");
  EXPECT_TRUE(all[0].tensors.count("magnitude"));
  EXPECT_EQ(all[0].tensors.at("magnitude").shape, (std::vector<int64_t>{7}));
  EXPECT_EQ(all[1].form, "lora");
  EXPECT_TRUE(all[1].tensors.count("magnitude"));
}

TEST_F(PeftFolder, BiasOfB) {
  config["lora_bias"] = true;
  lora(q);
  tensors.push_back(counting(q + ".lora_B.bias", {3}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].parameter, "bias");
  EXPECT_EQ(all[1].form, "add");
  EXPECT_EQ(all[1].scale, 3.0);
}

TEST_F(PeftFolder, TrainedBiases) {
  config["bias"] = "all";
  lora(q);
  tensors.push_back(counting(q + ".base_layer.bias", {3}));
  tensors.push_back(counting("base_model.model.model.norm.bias", {3}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].form, "replace");
  EXPECT_EQ(all[0].module, "model.layers.0.q_proj");
  EXPECT_EQ(all[0].parameter, "bias");
  EXPECT_EQ(all[1].form, "lora");
  EXPECT_EQ(all[2].module, "model.norm");
}

TEST_F(PeftFolder, BiasOfLoraLayersUnderTheOldName) {
  config["bias"] = "lora_only";
  lora(q);
  tensors.push_back(counting(q + ".bias", {3}));
  EXPECT_EQ(updates()[0].form, "replace");
  tensors.push_back(counting("base_model.model.model.norm.bias", {3}));
  EXPECT_ERROR("explains");
}

TEST_F(PeftFolder, SavedModules) {
  config["modules_to_save"] = {"classifier", "norm", "pooler"};
  lora(q);
  tensors.push_back(counting("base_model.model.classifier.dense.weight", {3, 4}));
  tensors.push_back(counting("base_model.model.classifier.dense.bias", {3}));
  tensors.push_back(counting("base_model.model.model.layers.0.input_layernorm.weight", {3}));
  tensors.push_back(counting("base_model.model.model.norm.running_mean", {3}));
  tensors.push_back(counting("base_model.model.pooler.modules_to_save.default.weight", {3}));
  tensors.push_back(counting("base_model.model.pooler.modules_to_save.bias", {3}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(all[0].module, "classifier.dense");
  EXPECT_EQ(all[0].parameter, "bias");
  EXPECT_EQ(all[5].module, "pooler");
  EXPECT_EQ(all[6].module, "pooler");
  for (const Update &each : all)
    EXPECT_EQ(each.form, each.module == "model.layers.0.q_proj" ? "lora" : "replace");
}

TEST_F(PeftFolder, EmbeddingSavedAlong) {
  config["target_modules"] = {"embed_tokens", "lm_head"};
  config["use_dora"] = true;
  const std::string embedding = "base_model.model.model.embed_tokens", head = "base_model.model.lm_head";
  tensors.push_back(counting(embedding + ".lora_embedding_A", {2, 40}));
  tensors.push_back(counting(embedding + ".lora_embedding_B", {16, 2}));
  tensors.push_back(counting(embedding + ".lora_magnitude_vector", {16}));
  tensors.push_back(counting(embedding + ".base_layer.weight", {40, 16}));
  tensors.push_back(counting("base_model.model.lm_head.weight", {40, 16}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].module, "lm_head");
  EXPECT_EQ(all[0].form, "replace");
  EXPECT_EQ(all[1].form, "replace");
  EXPECT_EQ(all[2].form, "lora");
  EXPECT_TRUE(all[2].tensors.count("magnitude"));
  EXPECT_EQ(all[2].module, "model.embed_tokens");
}

TEST_F(PeftFolder, TokenRowsAreSorted) {
  config["trainable_token_indices"] = {9, 1, 5};
  lora(q);
  tensors.push_back(
      floats("base_model.model.wte.token_adapter.trainable_tokens_delta", {3, 2}, {90, 91, 10, 11, 50, 51}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[1].form, "rows");
  EXPECT_EQ(all[1].module, "wte");
  EXPECT_TRUE(all[1].tied);
  EXPECT_EQ(values<int64_t>(all[1].tensors.at("indices")), (std::vector<int64_t>{1, 5, 9}));
  EXPECT_EQ(values<float>(all[1].tensors.at("rows")), (std::vector<float>{10, 11, 50, 51, 90, 91}));
}

TEST_F(PeftFolder, TokenRowsOfTwoModules) {
  config["trainable_token_indices"] = {{"embed_tokens", {1, 3}}, {"lm_head", {2}}};
  tensors.push_back(
      counting("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", {2, 2}));
  tensors.push_back(counting("base_model.model.lm_head.token_adapter.trainable_tokens_delta", {1, 2}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_FALSE(all[0].tied);
  EXPECT_FALSE(all[1].tied);
}

TEST_F(PeftFolder, TargetsAsRegexAndLayers) {
  lora("base_model.model.model.layers.3.q_proj");
  config["target_modules"] = ".*\\.q_proj";
  EXPECT_EQ(updates().size(), 1u);
  config["target_modules"] = {"model.layers.3.q_proj"};
  EXPECT_EQ(updates().size(), 1u);
  config["target_modules"] = {"q_proj"};
  config["layers_to_transform"] = {2, 3};
  config["layers_pattern"] = "layers";
  EXPECT_EQ(updates().size(), 1u);
  config["layers_pattern"] = nullptr;
  EXPECT_EQ(updates().size(), 1u);
  config["layers_to_transform"] = 3;
  EXPECT_EQ(updates().size(), 1u);
}

TEST_F(PeftFolder, ATiedHeadNeedsNoTarget) {
  lora("base_model.model.lm_head");
  config["ensure_weight_tying"] = true;
  EXPECT_EQ(updates().size(), 1u);
}

TEST_F(PeftFolder, FactorsOfEightBits) {
  tensors = {tensor<uint8_t>(DType::F8E4M3FN, q + ".lora_A.weight", {2, 1}, {0x38, 0xb8}),
             tensor<uint8_t>(DType::F8E5M2, q + ".lora_B.weight", {1, 2}, {0x3c, 0x40})};
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].tensors.at("A").dtype, DType::F32);
  EXPECT_EQ(values<float>(all[0].tensors.at("A")), (std::vector<float>{1, -1}));
  EXPECT_EQ(values<float>(all[0].tensors.at("B")), (std::vector<float>{1, 2}));
  tensors[0] = tensor<uint8_t>(DType::F8E4M3FN, q + ".lora_A.weight", {2, 1}, {0x38, 0x7f});
  EXPECT_ERROR("holds NaN");
}

TEST_F(PeftFolder, FieldsWithoutABearingAreRead) {
  lora(q);
  config["init_lora_weights"] = "eva";
  config["loftq_config"] = Json::object();
  config["lora_dropout"] = 0.1;
  config["layer_replication"] = nullptr;
  config["use_qalora"] = false;
  config["a_field_of_tomorrow"] = nullptr;
  EXPECT_EQ(updates().size(), 1u);
}
