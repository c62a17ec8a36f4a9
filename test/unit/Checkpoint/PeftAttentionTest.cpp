// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// LoRA on torch.nn.MultiheadAttention. Names and shapes are those that PEFT 0.21 writes; that out_proj counts twice was
// read and measured there.
#include "test/unit/Checkpoint/PeftFolder.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class PeftAttention : public PeftFolder {
protected:
  const std::string attention = "base_model.model.encoder.mha";
  const std::string output = attention + ".base_layer.out_proj";
  PeftAttention() {
    config["target_modules"] = {"mha"};
    lora(attention, 2, 4, 12);
    lora(output, 2, 4, 4);
  }
};

} // namespace

TEST_F(PeftAttention, BothWeights) {
  tensors.push_back(counting(output + ".base_layer.bias", {4}));
  config["bias"] = "all";
  config["peft_version"] = "0.21.2";
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 3u);
  EXPECT_EQ(all[0].module, "encoder.mha");
  EXPECT_EQ(all[0].parameter, "in_proj_weight");
  EXPECT_EQ(all[0].form, "lora");
  EXPECT_EQ(all[0].scale, 3.0);
  EXPECT_EQ(all[0].tensors.at("B").shape, (std::vector<int64_t>{12, 2}));
  EXPECT_EQ(all[1].module, "encoder.mha.out_proj");
  EXPECT_EQ(all[1].parameter, "bias");
  EXPECT_EQ(all[1].form, "replace");
  EXPECT_EQ(all[2].module, "encoder.mha");
  EXPECT_EQ(all[2].parameter, "out_proj.weight");
  EXPECT_EQ(all[2].form, "lora");
  EXPECT_EQ(all[2].scale, 6.0);
}

TEST_F(PeftAttention, PatternsNameTheAttention) {
  config["alpha_pattern"] = {{"out_proj", 100}, {"mha", 2}};
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].scale, 1.0);
  EXPECT_EQ(all[1].scale, 2.0);
}

TEST_F(PeftAttention, Refused) {
  config["peft_version"] = "0.22.0";
  EXPECT_ERROR("field 'peft_version' is '0.22.0'");
  config["peft_version"] = "1.0";
  EXPECT_ERROR("twice");
  config["peft_version"] = "0.9.1";
  EXPECT_EQ(error(), "no error");
  config["fan_in_fan_out"] = true;
  EXPECT_ERROR("field 'fan_in_fan_out'");
  config["fan_in_fan_out"] = false;
  tensors[1] = counting(attention + ".lora_B.weight", {8, 2});
  EXPECT_ERROR("has shape [8, 2]; expected [12, 2] for a MultiheadAttention");
}
