// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of mlx-lm.
#include "test/unit/Checkpoint/PeftFolder.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class Mlx : public PeftFolder {
protected:
  const std::string q = "model.layers.0.self_attn.q_proj";
  Mlx() {
    config = {{"fine_tune_type", "lora"},
              {"iters", 100},
              {"model", "mlx/base"},
              {"lora_parameters", {{"rank", 2}, {"scale", 20.0}, {"dropout", 0.1}}}};
    tensors = {floats(q + ".lora_a", {3, 2}, {1, 2, 3, 4, 5, 6}), floats(q + ".lora_b", {2, 1}, {7, 8})};
  }
  Result<Adapter> readMlx() {
    folder.write("adapter_config.json", config.dump());
    EXPECT_TRUE(writeSafetensors(folder / "adapters.safetensors", tensors));
    return readAdapter(folder.text());
  }
  std::vector<Update> updates() {
    Result<Adapter> adapter = readMlx();
    EXPECT_TRUE(adapter) << adapter.error().message;
    return adapter ? adapter->updates : std::vector<Update>();
  }
  std::string error() {
    Result<Adapter> adapter = readMlx();
    return adapter ? "no error" : adapter.error().message;
  }
};

} // namespace

TEST_F(Mlx, FactorsAreFlipped) {
  tensors.push_back(counting("model.embed_tokens.lora_a", {9, 2}));
  tensors.push_back(counting("model.embed_tokens.lora_b", {2, 5}));
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].layer, Layer::Embedding);
  EXPECT_EQ(all[0].tensors.at("A").shape, (std::vector<int64_t>{2, 9}));
  EXPECT_EQ(all[0].tensors.at("B").shape, (std::vector<int64_t>{5, 2}));
  EXPECT_EQ(all[1].module, q);
  EXPECT_EQ(all[1].form, "lora");
  EXPECT_EQ(all[1].scale, 20.0);
  EXPECT_EQ(values<float>(all[1].tensors.at("A")), (std::vector<float>{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(values<float>(all[1].tensors.at("B")), (std::vector<float>{7, 8}));
  EXPECT_TRUE(readAdapter(folder / "adapters.safetensors"));
}

TEST_F(Mlx, DoraAndFull) {
  tensors.push_back(counting(q + ".m", {1}));
  EXPECT_ERROR("fine_tune_type is not dora");
  config["fine_tune_type"] = "dora";
  EXPECT_EQ(updates().at(0).form, "lora");
  EXPECT_TRUE(updates().at(0).tensors.count("magnitude"));
  tensors.pop_back();
  EXPECT_ERROR("q_proj.m', which fine_tune_type dora asks for");
  config["fine_tune_type"] = "full";
  tensors = {counting("model.norm.weight", {3})};
  EXPECT_EQ(updates().at(0).form, "replace");
}

TEST_F(Mlx, Refused) {
  tensors.push_back(counting(q + ".lora_c", {2}));
  EXPECT_ERROR("q_proj.lora_c' has no place");
  tensors.back() = counting("x.lora_a", {2, 3, 2});
  EXPECT_ERROR("expected a matrix");
  tensors.pop_back();
  for (const auto &[field, value, words] :
       {std::tuple("fine_tune_type", Json("other"), "expected lora, dora or full"),
        {"lora_parameters", Json(3), "not a dictionary"},
        {"lora_parameters", Json({{"rank", 4}, {"scale", 1}}), "lora_parameters.rank in"},
        {"lora_parameters", Json({{"rank", 2}}), "lora_parameters.scale"},
        {"lora_parameters", Json({{"rank", 2}, {"scale", 1}, {"alpha", 16}}), "alpha / rank"},
        {"a_field_of_tomorrow", Json(1), "is unknown"}}) {
    Json before = config;
    config[field] = value;
    EXPECT_ERROR(words);
    config = before;
  }
  std::filesystem::remove(folder / "adapters.safetensors");
  EXPECT_FALSE(readAdapter(folder.text()));
}
