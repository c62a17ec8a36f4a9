// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// What readAdapter says of files and folders that are not adapters.
#include "test/unit/Checkpoint/SingleFile.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

using NotAnAdapter = SingleFile;

TEST_F(NotAnAdapter, Files) {
  const struct {
    const char *name;
    std::string bytes;
    const char *words;
  } cases[] = {{"a.bin", "PK\x03\x04 archive/data.pkl", "weights_only=True"},
               {"a.pt", std::string("\x80\x02}q"), "a pickle"},
               {"a.npz", "PK\x03\x04 x.npy", ".npz archive"},
               {"a.zip", "PK\x03\x04 x.txt", "a zip archive"},
               {"a.onnx", "\x08\x0a", "an ONNX graph"},
               {"a", std::string("\x08\x0a\x12\x07pytorch"), "an ONNX graph"},
               {"a.txt", "hello", "is not an adapter"},
               {"a.empty", "", "is empty"},
               {"a.lfs", "version https://git-lfs.github.com/spec/v1\n", "Git LFS"},
               {"b.safetensors", "hello, world", "no safetensors file"},
               {"adapter_config.json", "{}", "give its folder"}};
  for (const auto &each : cases)
    EXPECT_TEXT(errorOf(readBytes(each.name, each.bytes)), each.words);
  EXPECT_TRUE(writeSafetensors(folder / "model", {counting("w", {2})}));
  EXPECT_TEXT(errorOf(readAdapter(folder / "model")), "must end in .safetensors");
}

TEST_F(NotAnAdapter, Tensors) {
  tensors = {counting("model.layers.0.self_attn.q_proj.weight", {2, 2})};
  EXPECT_TEXT(error(), "adapter-opt diff BASE TUNED");
  tensors.push_back(counting("base_model.model.x.lora_A.weight", {2, 2}));
  EXPECT_TEXT(error(), "no adapter_config.json beside it");
}

TEST_F(NotAnAdapter, Folders) {
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "no adapter_config.json there; expected");
  folder.write("a.ckpt", "x");
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "a.ckpt: a pickle");
  folder.write("a.gguf", "x");
  folder.write("b.safetensors", "x");
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "but a.gguf and b.safetensors; give the file");
  folder.write("config.json", "{}");
  folder.write("model-00001-of-00002.safetensors", "x");
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "a whole model, not an adapter");
}

// Tensors of a PEFT folder under another name, and in several files.
TEST_F(NotAnAdapter, NamesOfPeftFiles) {
  folder.write("adapter_config.json", R"({"peft_type": "LORA", "r": 2, "target_modules": ["q"]})");
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "no adapter_model.safetensors there");
  tensors = {counting("base_model.model.q.lora_A.weight", {2, 2}),
             counting("base_model.model.q.lora_B.weight", {2, 2})};
  EXPECT_EQ(updates().size(), 1u);
  EXPECT_EQ(updatesOf(readAdapter(folder.text())).size(), 1u);
  folder.write("other.safetensors", "x");
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "lora.safetensors and other.safetensors; give the file");
  EXPECT_EQ(updatesOf(readAdapter(folder / "lora.safetensors")).size(), 1u);
  folder.write("adapter_model-00001-of-00002.safetensors", "x");
  EXPECT_TEXT(errorOf(readAdapter(folder.text())), "in several files");
}
