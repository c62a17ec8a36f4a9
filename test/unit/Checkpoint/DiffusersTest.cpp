// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRAs that diffusers saved, under the names of several of its versions.
#include "test/unit/Checkpoint/SingleFile.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class Diffusers : public SingleFile {
protected:
  void lora(const std::string &down, const std::string &up) {
    tensors.push_back(counting(down, {2, 4}));
    tensors.push_back(counting(up, {3, 2}));
  }
};

} // namespace

TEST_F(Diffusers, NamesOfAllVersions) {
  lora("unet.a.to_q.lora_A.weight", "unet.a.to_q.lora_B.weight");
  lora("unet.b.to_k.lora.down.weight", "unet.b.to_k.lora.up.weight");
  lora("unet.c.processor.to_out_lora.down.weight", "unet.c.processor.to_out_lora.up.weight");
  lora("text_encoder.d.q_proj.lora_linear_layer.down.weight",
       "text_encoder.d.q_proj.lora_linear_layer.up.weight");
  lora("transformer.e.lora_down.weight", "transformer.e.lora_up.weight");
  tensors.push_back(floats("transformer.e.alpha", {}, {8}));
  lora("down.f.processor.to_v_lora.down.weight", "down.f.processor.to_v_lora.up.weight");
  std::vector<Update> all = updates();
  const std::pair<const char *, const char *> expected[] = {
      {"down.f.to_v", "unet"}, {"d.q_proj", "text_encoder"}, {"e", "transformer"},
      {"a.to_q", "unet"},      {"b.to_k", "unet"},           {"c.to_out.0", "unet"}};
  ASSERT_EQ(all.size(), std::size(expected));
  for (size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].module, expected[i].first);
    EXPECT_EQ(all[i].part, expected[i].second);
    EXPECT_EQ(all[i].scale, i == 2 ? 4.0 : 1.0);
    EXPECT_FALSE(all[i].flattened);
  }
}

TEST_F(Diffusers, ComfyUI) {
  lora("diffusion_model.blocks.0.q.lora_A.weight", "diffusion_model.blocks.0.q.lora_B.weight");
  tensors.push_back(floats("diffusion_model.blocks.0.q.alpha", {}, {4}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].module, "blocks.0.q");
  EXPECT_EQ(all[0].part, "diffusion_model");
  EXPECT_EQ(all[0].scale, 2.0);
  tensors.push_back(counting("diffusion_model.blocks.0.q.diff_b", {3}));
  EXPECT_TEXT(error(), "diff_b' has no place");
}

// A model of its own, saved without a part in front: the configuration has none either.
TEST_F(Diffusers, MetadataWithoutParts) {
  lora("blocks.0.q.lora_A.weight", "blocks.0.q.lora_B.weight");
  metadata["lora_adapter_metadata"] = R"({"r": 2, "lora_alpha": 4, "target_modules": ["q"]})";
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].module, "blocks.0.q");
  EXPECT_EQ(all[0].part, "");
  EXPECT_EQ(all[0].scale, 2.0);
}

TEST_F(Diffusers, BiasAndMagnitude) {
  lora("unet.a.lora_A.weight", "unet.a.lora_B.weight");
  tensors.push_back(counting("unet.a.lora_B.bias", {3}));
  tensors.push_back(counting("unet.a.lora_magnitude_vector", {3}));
  tensors.push_back(counting("unet.c.lora_A.weight", {2, 4, 3, 3}));
  tensors.push_back(counting("unet.c.lora_B.weight", {3, 2, 1, 1}));
  tensors.push_back(counting("unet.c.lora_magnitude_vector.weight", {1, 3, 1, 1}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].form, "lora");
  EXPECT_TRUE(all[0].tensors.count("magnitude"));
  EXPECT_EQ(all[1].form, "add");
  EXPECT_EQ(all[1].parameter, "bias");
  EXPECT_EQ(all[2].form, "lora");
  EXPECT_TRUE(all[2].tensors.count("magnitude"));
  tensors[2] = counting("unet.a.lora_B.bias", {4});
  EXPECT_TEXT(error(), "expected floats [3]");
}

// By part; what it says is obeyed as in PEFT's folders.
TEST_F(Diffusers, Metadata) {
  lora("unet.a.to_q.lora_A.weight", "unet.a.to_q.lora_B.weight");
  lora("text_encoder.q_proj.lora_A.weight", "text_encoder.q_proj.lora_B.weight");
  metadata["lora_adapter_metadata"] =
      R"({"unet.r": 2, "unet.lora_alpha": 6, "unet.alpha_pattern": {"to_q": 10}, "unet.target_modules": ["to_q"]})";
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].part, "text_encoder");
  EXPECT_EQ(all[0].scale, 1.0);
  EXPECT_EQ(all[1].part, "unet");
  EXPECT_EQ(all[1].module, "a.to_q");
  EXPECT_EQ(all[1].scale, 5.0);
  for (auto [text, words] : {std::pair("{", "lora_adapter_metadata"),
                             {"[]", "no JSON object"},
                             {R"({"unet.r": 4})", "rank 2"},
                             {R"({"unet.r": 2, "unet.arrow_config": {"top_k": 2}})", "field 'arrow_config'"},
                             {R"({"unet.r": 2, "unet.peft_type": "LOHA"})", "'LOHA'"},
                             {R"({"unet.r": 2, "unet.use_dora": true})", "lora_magnitude_vector"}}) {
    metadata["lora_adapter_metadata"] = text;
    EXPECT_TEXT(error(), words);
  }
}

TEST_F(Diffusers, Refused) {
  lora("unet.a.lora_A.weight", "unet.a.lora_B.weight");
  for (const char *name :
       {"unet.a.lora_C.weight", "unet.a.weight", "lora_A.weight", "text_encoder.x.to_q_lora.down.weight"}) {
    tensors.push_back(counting(name, {2, 2}));
    EXPECT_TEXT(error(), std::string("tensor '") + name + "' has no place");
    tensors.pop_back();
  }
  tensors.push_back(counting("unet.a.lora.down.weight", {2, 4}));
  EXPECT_TEXT(error(), "says the same as");
  tensors.back() = counting("unet.b.lora_B.bias", {4});
  EXPECT_TEXT(error(), "stands without the factors");
}
