// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRAs of kohya's sd-scripts and of LyCORIS.
#include "test/unit/Checkpoint/SingleFile.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class Kohya : public SingleFile {
protected:
  const std::string q = "lora_unet_down_blocks_0_attentions_1_to_q";
  void lora(const std::string &module, std::vector<int64_t> down = {2, 4}, std::vector<int64_t> up = {3, 2}) {
    tensors.push_back(counting(module + ".lora_down.weight", std::move(down)));
    tensors.push_back(counting(module + ".lora_up.weight", std::move(up)));
  }
};

} // namespace

TEST_F(Kohya, Linears) {
  lora(q);
  tensors.push_back(floats(q + ".alpha", {}, {1}));
  lora("lora_te2_text_model_encoder_layers_0_mlp_fc1");
  metadata = {{"ss_network_dim", "2"}, {"ss_network_args", R"({"conv_dim": 4, "rs_lora": "False"})"}};
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].module, "encoder_layers_0_mlp_fc1");
  EXPECT_EQ(all[0].part, "text_encoder_2");
  EXPECT_EQ(all[0].scale, 1.0);
  EXPECT_EQ(all[1].module, "down_blocks_0_attentions_1_to_q");
  EXPECT_EQ(all[1].part, "unet");
  EXPECT_EQ(all[1].form, "lora");
  EXPECT_EQ(all[1].parameter, "weight");
  EXPECT_EQ(all[1].scale, 0.5);
  EXPECT_EQ(all[1].rank, 2);
  EXPECT_TRUE(all[1].flattened);
  // A folder with nothing else in it is the file.
  EXPECT_TRUE(readAdapter(folder.text()));
}

TEST_F(Kohya, Convolutions) {
  lora(q, {2, 4, 3, 3}, {3, 2, 1, 1});
  tensors.push_back(counting(q + ".dora_scale", {3, 1, 1, 1}));
  const std::string other = "lycoris_mid_conv";
  tensors.push_back(floats(other + ".lora_down.weight", {2, 1, 1, 1}, {1, 2}));
  tensors.push_back(floats(other + ".lora_mid.weight", {2, 2, 1, 2}, {1, 2, 3, 4, 5, 6, 7, 8}));
  tensors.push_back(floats(other + ".lora_up.weight", {1, 2, 1, 1}, {1, 1}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].form, "lora");
  EXPECT_TRUE(all[0].tensors.count("magnitude"));
  EXPECT_EQ(all[0].tensors.at("magnitude").shape, (std::vector<int64_t>{3}));
  // Of rank 2, one input, a window of two: mid[p][q][k] down[q].
  EXPECT_EQ(all[1].part, "");
  EXPECT_EQ(all[1].tensors.at("A").shape, (std::vector<int64_t>{2, 1, 1, 2}));
  EXPECT_EQ(values<float>(all[1].tensors.at("A")), (std::vector<float>{1 + 6, 2 + 8, 5 + 14, 6 + 16}));
}

TEST_F(Kohya, Refused) {
  lora(q);
  for (auto [name, words] : {std::pair(".hada_w1_a", "LoHa"),
                             {".lokr_w1", "LoKr"},
                             {".diff", "whole difference"},
                             {".lora_down.0.weight", "has no place"},
                             {".scalar", "has no place"}}) {
    tensors.push_back(counting(q + name, {2, 2}));
    EXPECT_TEXT(error(), words);
    EXPECT_TEXT(error(), "tensor '" + q + name + "'");
    tensors.pop_back();
  }
  for (const char *name : {"base_model.x.lora_A.weight", "lora_unet_", "lora_unet_.lora_up.weight", "x"}) {
    tensors.push_back(counting(name, {2, 2}));
    EXPECT_TEXT(error(), std::string("tensor '") + name + "' has no place");
    tensors.pop_back();
  }
  lora("lora_te_text_model_x");
  lora("lora_te1_x");
  EXPECT_TEXT(error(), "'lora_te_text_model_x' and 'lora_te1_x' are the same module");
  metadata = {{"ss_network_args", R"({"rs_lora": "True"})"}};
  EXPECT_TEXT(error(), "rs_lora");
  metadata = {{"ss_network_args", "{"}};
  EXPECT_TEXT(error(), "ss_network_args");
}

TEST_F(Kohya, ShapesThatDoNotFit) {
  lora(q, {2, 4}, {3, 5});
  EXPECT_TEXT(error(), "lora_up.weight' has shape [3, 5]");
  tensors.pop_back();
  EXPECT_TEXT(error(), "stands without the factor that goes up");
  tensors = {floats(q + ".alpha", {}, {1})};
  EXPECT_TEXT(error(), "stands without the factor that goes down");
  tensors.clear();
  lora(q, {2, 4, 3, 3}, {3, 2});
  EXPECT_TEXT(error(), "does not fit the shape [2, 4, 3, 3]");
  tensors.clear();
  lora(q);
  tensors.push_back(floats(q + ".alpha", {2}, {1, 1}));
  EXPECT_TEXT(error(), "expected a single number");
  tensors.back() = counting(q + ".dora_scale", {1, 4});
  EXPECT_TEXT(error(), "one for each input is not supported");
  tensors.back() = counting(q + ".dora_scale", {1, 3});
  EXPECT_TEXT(error(), "expected [3, 1...]");
  tensors.back() = counting(q + ".lora_mid.weight", {2, 2, 3, 3});
  EXPECT_TEXT(error(), "lora_mid.weight' has shape");
  tensors.back() = tensor<int32_t>(DType::I32, q + ".dora_scale", {3, 1}, {1, 2, 3});
  EXPECT_TEXT(error(), "is int32");
}
