// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What readAdapter refuses, and the words it finds.
#include "test/unit/Checkpoint/PeftFolder.h"
#include <cmath>

using namespace adapter::checkpoint;
using namespace adapter::test;

using PeftInvalid = PeftFolder;

TEST_F(PeftInvalid, Files) {
  EXPECT_NE(readAdapter(folder / "none").error().message.find("does not exist"), std::string::npos);
  EXPECT_NE(readAdapter(folder.text()).error().message.find("adapter_config.json"), std::string::npos);
  folder.write("adapter_config.json", config.dump());
  EXPECT_NE(readAdapter(folder.text()).error().message.find("no adapter_model.safetensors"),
            std::string::npos);
  folder.write("adapter_model.bin", "x");
  EXPECT_NE(readAdapter(folder.text()).error().message.find("save_file"), std::string::npos);
  EXPECT_FALSE(readAdapter(folder / "adapter_model.bin"));
  EXPECT_ERROR("holds no tensors");
}

TEST_F(PeftInvalid, Configuration) {
  lora(q);
  for (const char *text : {"", "[]", "{\"peft_type\": 3}", "{}", "{\"r\": 1, \"r\": 2}"}) {
    EXPECT_EQ(error(), "no error");
    folder.write("adapter_config.json", text);
    EXPECT_FALSE(readAdapter(folder.text())) << text;
  }
}

TEST_F(PeftInvalid, OtherMethods) {
  lora(q);
  config["peft_type"] = "PREFIX_TUNING";
  EXPECT_ERROR("'peft_type' is 'PREFIX_TUNING', which is not supported; ADALORA, BEFT, BOFT");
}

TEST_F(PeftInvalid, FieldsThatChangeTheResult) {
  lora(q);
  const std::pair<const char *, Json> fields[] = {{"layer_replication", {{0, 1}}},
                                                  {"alora_invocation_tokens", {1, 2}},
                                                  {"use_qalora", "yes"},
                                                  {"use_bdlora", {{"nblocks", 2}}},
                                                  {"arrow_config", {{"top_k", 2}}},
                                                  {"kasa_config", {{"beta", 0.1}}},
                                                  {"target_parameters", {"experts.gate_up_proj"}},
                                                  {"megatron_config", {{"a", 1}}},
                                                  {"a_field_of_tomorrow", 3},
                                                  {"init_lora_weights", "pissa_niter_4"},
                                                  {"init_lora_weights", "loftq"},
                                                  {"bias", "some"},
                                                  {"use_dora", "yes"},
                                                  {"lora_alpha", "big"},
                                                  {"rank_pattern", {{"q_proj", "x"}}},
                                                  {"alpha_pattern", {{"(", 2}}},
                                                  {"target_modules", {1}},
                                                  {"modules_to_save", 7}};
  for (const auto &[name, value] : fields) {
    Json before = config;
    config[name] = value;
    if (std::string(name) == "modules_to_save")
      tensors.push_back(counting("base_model.model.head.weight", {2, 2}));
    EXPECT_ERROR("field '" + std::string(name) + "'");
    config = before;
  }
}

TEST_F(PeftInvalid, RankDisagrees) {
  lora(q, 3);
  EXPECT_ERROR("q_proj.lora_A.weight' has shape [3, 4], rank 3");
}

TEST_F(PeftInvalid, TargetsDisagree) {
  lora(q);
  config["exclude_modules"] = {"q_proj"};
  EXPECT_ERROR("exclude_modules excludes it");
  config["exclude_modules"] = nullptr;
  config["target_modules"] = {"proj"};
  EXPECT_ERROR("target_modules does not name it");
  config["target_modules"] = "q_proj";
  EXPECT_ERROR("target_modules does not name it");
  config["target_modules"] = {"q_proj"};
  config["layers_to_transform"] = {1};
  EXPECT_ERROR("layers_to_transform");
}

TEST_F(PeftInvalid, TensorsWithoutAPlace) {
  lora(q);
  for (const char *name :
       {".lora_C.weight", ".lora_A.one.two.weight", ".hada_w1_a", ".lora_diag", ".weight"}) {
    tensors.push_back(counting(q + name, {2}));
    EXPECT_ERROR(q + name);
    tensors.pop_back();
  }
  tensors.push_back(counting("weight", {2}));
  EXPECT_ERROR("no module path");
}

TEST_F(PeftInvalid, TensorsThatBelongTogether) {
  lora(q);
  Tensor b = tensors.back();
  tensors.pop_back();
  EXPECT_ERROR("has no counterpart lora_B");
  tensors.push_back(counting(b.key, {3, 5}));
  EXPECT_ERROR("does not fit the shape [2, 4]");
  Tensor a = tensors.front();
  tensors.front() = counting(a.key, {2, 4, 3, 3});
  tensors.back() = counting(b.key, {4, 1, 1, 1});
  EXPECT_ERROR("lora_B.weight' has shape [4, 1, 1, 1] for rank 2: LoRA beside a convolution of 2 groups");
  tensors.front() = a;
  tensors.back() = b;
  tensors.push_back(counting(q + ".lora_magnitude_vector", {3}));
  EXPECT_ERROR("use_dora is not true");
  config["use_dora"] = true;
  EXPECT_EQ(error(), "no error");
  tensors.back() = counting(q + ".lora_magnitude_vector", {4});
  EXPECT_ERROR("expected 3 values");
  tensors.pop_back();
  EXPECT_ERROR("no lora_magnitude_vector");
  config["use_dora"] = false;
  tensors.push_back(counting(q + ".lora_B.bias", {3}));
  EXPECT_ERROR("lora_bias is not true");
  config["lora_bias"] = true;
  tensors.back() = counting(q + ".lora_B.bias", {4});
  EXPECT_ERROR("expected [3]");
}

TEST_F(PeftInvalid, Values) {
  lora(q);
  tensors[0] = floats(q + ".lora_A.weight", {2, 4}, {0, 0, NAN});
  EXPECT_ERROR("lora_A.weight' holds NaN");
  tensors[0] = counting(q + ".lora_A.weight", {0, 4});
  EXPECT_ERROR("is empty");
  tensors[0] = tensor<int32_t>(DType::I32, q + ".lora_A.weight", {2, 4}, std::vector<int32_t>(8));
  EXPECT_ERROR("is int32");
}

TEST_F(PeftInvalid, TokenRows) {
  tensors.push_back(counting("base_model.model.wte.token_adapter.trainable_tokens_delta", {2, 2}));
  EXPECT_ERROR("trainable_token_indices is not set");
  config["trainable_token_indices"] = {1, 2, 3};
  EXPECT_ERROR("has 3 indices");
  config["trainable_token_indices"] = {1, 1};
  EXPECT_ERROR("twice");
  config["trainable_token_indices"] = {1, -1};
  EXPECT_ERROR("negative");
  config["trainable_token_indices"] = {{"embed_tokens", {1, 2}}};
  EXPECT_ERROR("no list of indices for 'wte'");
}
