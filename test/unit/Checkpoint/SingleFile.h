// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Adapters of one file, for tests.
#ifndef ADAPTER_TEST_UNIT_CHECKPOINT_SINGLEFILE_H
#define ADAPTER_TEST_UNIT_CHECKPOINT_SINGLEFILE_H

#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/Safetensors.h"
#include "test/unit/TempFolder.h"
#include "test/unit/Tensors.h"
#include <gtest/gtest.h>

namespace adapter::test {

class SingleFile : public ::testing::Test {
protected:
  TempFolder folder;
  std::vector<checkpoint::Tensor> tensors;
  std::map<std::string, std::string> metadata;

  // A safetensors file of the tensors above.
  virtual checkpoint::Result<checkpoint::Adapter> read() {
    EXPECT_TRUE(checkpoint::writeSafetensors(folder / "lora.safetensors", tensors, metadata));
    return checkpoint::readAdapter(folder / "lora.safetensors");
  }
  checkpoint::Result<checkpoint::Adapter> readBytes(const std::string &name, const std::string &bytes) {
    return checkpoint::readAdapter(folder.write(name, bytes));
  }
  std::vector<checkpoint::Update> updates() { return updatesOf(read()); }
  static std::vector<checkpoint::Update> updatesOf(const checkpoint::Result<checkpoint::Adapter> &adapter) {
    EXPECT_TRUE(adapter) << adapter.error().message;
    return adapter ? adapter->updates : std::vector<checkpoint::Update>();
  }
  std::string error() { return errorOf(read()); }
  // The error's text, which must name a part of the folder.
  std::string errorOf(const checkpoint::Result<checkpoint::Adapter> &adapter) {
    if (adapter)
      return "no error";
    EXPECT_NE(adapter.error().message.find(folder.text()), std::string::npos) << adapter.error().message;
    return adapter.error().message;
  }
};

#define EXPECT_TEXT(whole, part)                                                                             \
  do {                                                                                                       \
    std::string message = (whole);                                                                           \
    EXPECT_NE(message.find(part), std::string::npos) << message;                                             \
  } while (false)

} // namespace adapter::test

#endif // ADAPTER_TEST_UNIT_CHECKPOINT_SINGLEFILE_H
