// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Makes PEFT folders for tests.
#ifndef ADAPTER_TEST_UNIT_CHECKPOINT_PEFTFOLDER_H
#define ADAPTER_TEST_UNIT_CHECKPOINT_PEFTFOLDER_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/Json.h"
#include "lib/Checkpoint/Safetensors.h"
#include "test/unit/TempFolder.h"
#include "test/unit/Tensors.h"
#include <gtest/gtest.h>

namespace adapter::test {

inline const std::string q = "base_model.model.model.layers.0.q_proj";

class PeftFolder : public ::testing::Test {
protected:
  TempFolder folder;
  checkpoint::Json config = {
      {"peft_type", "LORA"}, {"r", 2}, {"lora_alpha", 6}, {"target_modules", {"q_proj"}}};
  std::vector<checkpoint::Tensor> tensors;

  void lora(const std::string &module, int64_t rank = 2, int64_t in = 4, int64_t out = 3) {
    tensors.push_back(counting(module + ".lora_A.weight", {rank, in}));
    tensors.push_back(counting(module + ".lora_B.weight", {out, rank}));
  }
  checkpoint::Result<checkpoint::Adapter> read() {
    folder.write("adapter_config.json", config.dump());
    EXPECT_TRUE(checkpoint::writeSafetensors(folder / "adapter_model.safetensors", tensors));
    return checkpoint::readAdapter(folder.text());
  }
  std::vector<checkpoint::Update> updates() {
    checkpoint::Result<checkpoint::Adapter> adapter = read();
    EXPECT_TRUE(adapter) << adapter.error().message;
    return adapter ? adapter->updates : std::vector<checkpoint::Update>();
  }
  // The error's text, which must name a part of the folder.
  std::string error() {
    checkpoint::Result<checkpoint::Adapter> adapter = read();
    if (adapter)
      return "no error";
    EXPECT_NE(adapter.error().message.find(folder.text()), std::string::npos) << adapter.error().message;
    return adapter.error().message;
  }
};

#define EXPECT_ERROR(part)                                                                                   \
  do {                                                                                                       \
    std::string message = error();                                                                           \
    EXPECT_NE(message.find(part), std::string::npos) << message;                                             \
  } while (false)

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_CHECKPOINT_PEFTFOLDER_H
