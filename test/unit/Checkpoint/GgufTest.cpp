// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// GGUF files: LoRAs of llama.cpp, and files that lie.
#include "lib/Checkpoint/Gguf.h"
#include "test/unit/Checkpoint/Bytes.h"
#include "test/unit/Checkpoint/SingleFile.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

constexpr uint32_t f32 = 0, f16 = 1, q8 = 8;

class GgufFiles : public SingleFile {
protected:
  static GgufFile start(const std::string &architecture) {
    GgufFile file;
    return file.text("general.type", "adapter")
        .text("general.architecture", architecture)
        .text("adapter.type", "lora")
        .number("adapter.lora.alpha", 6.0f);
  }
  static void lora(GgufFile &file, const std::string &name, int64_t out = 4) {
    file.tensor(name + ".weight.lora_a", {2, 3}, f32, bytesOf(counting("a", {2, 3})));
    file.tensor(name + ".weight.lora_b", {out, 2}, f32, bytesOf(counting("b", {out, 2})));
  }
  Result<Adapter> readFile(const GgufFile &file) { return readBytes("lora.gguf", file.bytes()); }
  std::string errorIn(const GgufFile &file) { return errorOf(readFile(file)); }
};

} // namespace

TEST_F(GgufFiles, ModulesByArchitecture) {
  const struct {
    const char *architecture, *name, *module;
  } cases[] = {{"qwen2", "blk.3.attn_q", "model.layers.3.self_attn.q_proj"},
               {"llama", "blk.0.ffn_down", "model.layers.0.mlp.down_proj"},
               {"gemma2", "blk.12.attn_output", "model.layers.12.self_attn.o_proj"},
               {"phi3", "blk.0.ffn_up", "model.layers.0.mlp.gate_up_proj"},
               {"phi3", "blk.0.attn_qkv", "model.layers.0.self_attn.qkv_proj"},
               {"gpt2", "blk.0.attn_qkv", "transformer.h.0.attn.c_attn"},
               {"qwen3", "output", "lm_head"}};
  for (const auto &each : cases) {
    GgufFile file = start(each.architecture);
    lora(file, each.name);
    std::vector<Update> all = updatesOf(readFile(file));
    ASSERT_EQ(all.size(), 1u) << each.architecture;
    EXPECT_EQ(all[0].module, each.module);
    EXPECT_EQ(all[0].form, "lora");
    EXPECT_EQ(all[0].scale, 3.0);
    EXPECT_EQ(all[0].tensors.at("A").shape, (std::vector<int64_t>{2, 3}));
    EXPECT_EQ(values<float>(all[0].tensors.at("A")), values<float>(counting("a", {2, 3})));
  }
}

TEST_F(GgufFiles, EmbeddingsAreFlipped) {
  GgufFile file = start("qwen2");
  file.tensor("token_embd.weight.lora_a", {3, 2}, f32, bytesOf(floats("a", {3, 2}, {1, 2, 3, 4, 5, 6})));
  file.tensor("token_embd.weight.lora_b", {4, 2}, f32, bytesOf(counting("b", {4, 2})));
  std::vector<Update> all = updatesOf(readFile(file));
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].module, "model.embed_tokens");
  EXPECT_EQ(all[0].layer, Layer::Embedding);
  EXPECT_EQ(values<float>(all[0].tensors.at("A")), (std::vector<float>{1, 3, 5, 2, 4, 6}));
}

// Rows of one head of four: llama.cpp has 0, 2, 1, 3 of Transformers'.
TEST_F(GgufFiles, RowsOfQueriesAndKeysOfLlama) {
  GgufFile file = start("llama");
  lora(file, "blk.0.attn_q", 8);
  lora(file, "blk.0.attn_k", 4);
  EXPECT_TEXT(errorIn(file), "the file has no field 'llama.attention.head_count_kv'");
  EXPECT_TEXT(errorIn(file), "config.json beside it");
  const std::vector<float> rows = {0.5, 1.5, 4.5, 5.5, 2.5, 3.5, 6.5, 7.5};
  auto check = [&](const std::vector<Update> &all) {
    ASSERT_EQ(all.size(), 2u);
    EXPECT_EQ(values<float>(all[0].tensors.at("B")), rows);
    std::vector<float> queries = values<float>(all[1].tensors.at("B"));
    EXPECT_EQ(std::vector<float>(queries.begin(), queries.begin() + 8), rows);
    EXPECT_EQ(queries[8], 8.5);
    EXPECT_EQ(queries[10], 12.5);
  };
  folder.write("config.json", R"({"num_attention_heads": 2, "num_key_value_heads": 1})");
  check(updatesOf(readFile(file)));
  std::string hash = readFile(file)->hash;
  folder.write("config.json", R"({"num_attention_heads": 3})");
  EXPECT_TEXT(errorIn(file), "do not fit 3 heads");
  folder.write("config.json", R"({"num_attention_heads": 1.5})");
  EXPECT_TEXT(errorIn(file), "not a whole number");
  file.number("llama.attention.head_count", 2u).number("llama.attention.head_count_kv", 1u);
  check(updatesOf(readFile(file)));
  EXPECT_NE(readFile(file)->hash, hash);
}

TEST_F(GgufFiles, NarrowTypes) {
  GgufFile file = start("qwen2");
  std::string block = little<uint16_t>(0x3800); // 0.5
  for (int i = 0; i < 32; ++i)
    block += static_cast<char>(i - 16);
  file.tensor("blk.0.attn_v.weight.lora_a", {1, 32}, q8, block);
  file.tensor("blk.0.attn_v.weight.lora_b", {2, 1}, f16, little<uint16_t>(0x3c00) + little<uint16_t>(0xc000));
  std::vector<Update> all = updatesOf(readFile(file));
  ASSERT_EQ(all.size(), 1u);
  std::vector<float> a = values<float>(all[0].tensors.at("A"));
  ASSERT_EQ(a.size(), 32u);
  EXPECT_EQ(a[0], -8.0f);
  EXPECT_EQ(a[31], 7.5f);
  EXPECT_EQ(all[0].tensors.at("B").dtype, DType::F16);
}

TEST_F(GgufFiles, Refused) {
  GgufFile model;
  model.text("general.type", "model").text("general.architecture", "llama");
  EXPECT_TEXT(errorIn(model), "field 'general.type' is 'model'");
  GgufFile other = start("mamba");
  EXPECT_TEXT(errorIn(other), "'mamba', whose tensors' names are not known");
  EXPECT_TEXT(errorIn(start("qwen2")), "holds no tensors");
  GgufFile activated = start("qwen2");
  lora(activated, "blk.0.attn_q");
  activated.field("adapter.alora.invocation_tokens", 9,
                  little<uint32_t>(4) + little<uint64_t>(1) + little<uint32_t>(7));
  EXPECT_TEXT(errorIn(activated), "activated LoRA");
  for (auto [name, words] : {std::pair("blk.0.ffn_gate_exps.weight.lora_a", "no such module"),
                             {"blk.x.attn_q.weight.lora_a", "no such module"},
                             {"blk.0.attn_norm.weight", "ends neither"}}) {
    GgufFile file = start("qwen2");
    lora(file, "blk.0.attn_q");
    file.tensor(name, {2, 2}, f32, std::string(16, '\0'));
    EXPECT_TEXT(errorIn(file), words);
    EXPECT_TEXT(errorIn(file), name);
  }
  GgufFile alone = start("qwen2");
  alone.tensor("blk.0.attn_q.weight.lora_a", {2, 2}, f32, std::string(16, '\0'));
  EXPECT_TEXT(errorIn(alone), "stands without the factor that goes up");
  GgufFile nan = start("qwen2");
  nan.tensor("blk.0.attn_q.weight.lora_a", {1, 1}, f32, little<uint32_t>(0x7fc00000));
  EXPECT_TEXT(errorIn(nan), "holds NaN");
}

TEST_F(GgufFiles, FilesThatLie) {
  const std::string a = "blk.0.attn_q.weight.lora_a";
  const std::string bytes(32, '\0');
  auto with = [&](auto change) {
    GgufFile file = start("qwen2");
    change(file);
    return errorIn(file);
  };
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {int64_t(1) << 62, 8}, f32, bytes); }), "larger than the file");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {INT64_MAX}, q8, bytes); }), "blocks");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {-1, 2}, f32, bytes); }),
              "has a dimension of 18446744073709551615");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {0, 2}, f32, bytes); }), "has a dimension of 0");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {1, 1, 1, 1, 1}, f32, bytes); }), "has 5 dimensions");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {2, 2}, 2, bytes); }), "GGML's type 2");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {2, 2}, f32, bytes, UINT64_MAX - 31); }), "outside");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {2, 2}, f32, bytes, 16); }), "not aligned");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {3, 2}, f32, bytes).tensor(a + "b", {3, 2}, f32, bytes, 0); }),
              "overlaps");
  EXPECT_TEXT(with([&](auto &f) { f.tensor(a, {2, 2}, f32, bytes).tensor(a, {2, 2}, f32, bytes); }), "twice");
  EXPECT_TEXT(with([&](auto &f) { f.text("general.type", "adapter"); }), "stands there twice");
  EXPECT_TEXT(with([&](auto &f) { f.number("general.alignment", 0u); }), "general.alignment");
  EXPECT_TEXT(with([&](auto &f) { f.field("x", 99, ""); }), "has type 99");
  EXPECT_TEXT(with([&](auto &f) { f.field("x", 9, little<uint32_t>(4) + little<uint64_t>(UINT64_MAX)); }),
              "ends within");
  EXPECT_TEXT(with([&](auto &f) { f.field("x", 8, little<uint64_t>(UINT64_MAX)); }), "ends within");
  EXPECT_TEXT(with([&](auto &f) { f.field("x", 9, little<uint32_t>(9) + little<uint64_t>(1)); }),
              "list of values");
  EXPECT_TEXT(errorOf(readBytes("x.gguf", "GGUF" + little<uint32_t>(1) + std::string(16, '\0'))),
              "version 1");
  EXPECT_TEXT(errorOf(readBytes("x.gguf", "GGUF" + little<uint32_t>(3) + std::string(16, '\xff'))),
              "more than it has room for");
}
