// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Damaged files of every binary format: flipped bits, bytes that are all ones, cut ends. Each is read, or is an error
// in one line; what a sanitizer says counts too.
#include "test/unit/Checkpoint/Bytes.h"
#include "test/unit/Checkpoint/SingleFile.h"
#include <random>

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class Damaged : public SingleFile {
protected:
  void damage(const std::string &name, const std::string &bytes, int rounds) {
    std::mt19937 random(7);
    int readable = 0, refused = 0;
    for (int round = 0; round < rounds; ++round) {
      std::string changed = bytes;
      for (unsigned flips = random() % 4 + 1; flips-- > 0;) {
        size_t at = random() % changed.size();
        // Half of the changes where headers are.
        at = random() % 2 ? at : at % std::min<size_t>(changed.size(), 256);
        changed[at] = random() % 4 ? static_cast<char>(changed[at] ^ (1 << random() % 8)) : '\xff';
      }
      if (random() % 4 == 0)
        changed.resize(random() % (changed.size() + 1));
      Result<Adapter> adapter = readBytes(name, changed);
      ++(adapter ? readable : refused);
      if (!adapter) {
        EXPECT_FALSE(adapter.error().message.empty());
        continue;
      }
      for (const Update &update : adapter->updates)
        for (const auto &[role, tensor] : update.tensors)
          EXPECT_EQ(values<char>(tensor).size(), tensor.bytes); // reads all of it
    }
    // Damage was done, and not all of it within the header's first bytes.
    EXPECT_GT(refused, rounds / 10);
    EXPECT_GT(readable, 0);
  }
};

} // namespace

TEST_F(Damaged, Gguf) {
  GgufFile file;
  file.text("general.type", "adapter").text("general.architecture", "llama").text("adapter.type", "lora");
  file.number("adapter.lora.alpha", 4.0f).number("llama.attention.head_count", 2u);
  file.field("tags", 9, little<uint32_t>(8) + little<uint64_t>(1) + little<uint64_t>(1) + "x");
  for (const std::string name : {"blk.0.attn_q.weight", "blk.0.ffn_up.weight"}) {
    file.tensor(name + ".lora_a", {2, 32}, 8, std::string(68, '\x11'));
    file.tensor(name + ".lora_b", {8, 2}, 0, bytesOf(counting("b", {8, 2})));
  }
  damage("a.gguf", file.bytes(), 3000);
}

TEST_F(Damaged, OnnxAdapter) {
  OnnxAdapterFile file;
  for (const std::string name : {"a.b", "a.c"})
    file.parameter(counting(name + ".lora_A.weight", {3, 2}))
        .parameter(counting(name + ".lora_B.weight", {2, 4}));
  damage("a.onnx_adapter", file.bytes(), 3000);
}

TEST_F(Damaged, Safetensors) {
  for (const std::string prefix : {"lora_unet_a_b.lora_", "unet.a.b.lora_"}) {
    tensors = {counting(prefix + "down.weight", {2, 4}), counting(prefix + "up.weight", {3, 2})};
    ASSERT_TRUE(writeSafetensors(folder / "a.safetensors", tensors, {{"ss_network_args", "{}"}}));
    damage("a.safetensors", folder.read("a.safetensors"), 2000);
  }
}
