// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// safetensors: round trip, alignment, and headers that lie.
#include "lib/Checkpoint/Safetensors.h"
#include "test/unit/TempFolder.h"
#include "test/unit/Tensors.h"
#include <gtest/gtest.h>

using namespace adapter::checkpoint;
using namespace adapter::test;

static std::string fileOf(const std::string &header, size_t data) {
  uint64_t length = header.size();
  return std::string(reinterpret_cast<const char *>(&length), 8) + header + std::string(data, '\0');
}

TEST(Safetensors, RoundTripIsAligned) {
  TempFolder folder;
  std::vector<Tensor> tensors = {counting("w", {3, 5}), tensor<int64_t>(DType::I64, "i", {2}, {-1, 9}),
                                 floats("empty", {0, 4}, {}), floats("scalar", {}, {7}),
                                 tensor<uint8_t>(DType::Bool, "b", {64}, std::vector<uint8_t>(64, 1))};
  ASSERT_TRUE(writeSafetensors(folder / "x.safetensors", tensors, {{"format", "pt"}}));
  Result<Safetensors> read = readSafetensors(folder / "x.safetensors");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->tensors.size(), 5u);
  EXPECT_EQ(read->metadata.at("format"), "pt");
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor *found = read->find(tensors[i].key);
    ASSERT_TRUE(found) << tensors[i].key;
    EXPECT_EQ(found->shape, tensors[i].shape);
    EXPECT_EQ(found->dtype, tensors[i].dtype);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(found->data) % 64, 0u);
    EXPECT_EQ(values<char>(*found), values<char>(tensors[i]));
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.text()), {}), 1);
}

TEST(Safetensors, WriterRefusesWhatItCannotSay) {
  TempFolder folder;
  EXPECT_FALSE(writeSafetensors(folder / "x", {counting("a", {1}), counting("a", {1})}));
  Tensor wrong = counting("a", {4});
  wrong.shape = {5};
  EXPECT_FALSE(writeSafetensors(folder / "x", {wrong}));
  EXPECT_FALSE(writeSafetensors(folder / "none/x", {}));
  EXPECT_TRUE(std::filesystem::is_empty(folder.text()));
}

TEST(Safetensors, RefusesBadFiles) {
  struct Case {
    const char *header;
    size_t data;
    const char *message;
  };
  const Case cases[] = {
      {"[]", 0, "does not start with '{'"},
      {"{", 0, "no JSON"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
       8, "twice"},
      {R"({"a":{"dtype":"F31","shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype \"F31\""},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4, "does not fill 4 bytes"},
      {R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4, "something else than sizes"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, "does not fill"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 3, "truncated"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 8, "lie outside"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, "hole"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8, "belong to none"},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})",
       4, "overlaps"},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, "expected dtype"},
      {R"({"a":3})", 4, "expected dtype"},
      {R"({"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}})", 4, "unknown dtype"},
      {R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})", 4, "something else than sizes"},
      {R"({"__metadata__":{"a":1}})", 0, "no text"},
  };
  TempFolder folder;
  for (const Case &each : cases) {
    Result<Safetensors> read = readSafetensors(folder.write("x", fileOf(each.header, each.data)));
    ASSERT_FALSE(read) << each.header;
    EXPECT_NE(read.error().message.find(each.message), std::string::npos) << read.error().message;
  }
}

TEST(Safetensors, RefusesBadLengths) {
  TempFolder folder;
  EXPECT_FALSE(readSafetensors(folder.write("x", "")));
  EXPECT_FALSE(readSafetensors(folder.write("x", "1234567")));
  EXPECT_FALSE(readSafetensors(folder.write("x", std::string(8, '\0'))));
  EXPECT_FALSE(readSafetensors(folder.write("x", std::string(8, '\xff') + "{}")));
  EXPECT_FALSE(readSafetensors(folder.text()));
  EXPECT_FALSE(readSafetensors(folder / "none"));
}

TEST(Safetensors, NoPrefixOfAFileCrashes) {
  TempFolder folder;
  ASSERT_TRUE(writeSafetensors(folder / "x", {counting("w", {3, 5}), counting("v", {7})}));
  std::string bytes = folder.read("x");
  for (size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(readSafetensors(folder.write("y", bytes.substr(0, size)))) << size;
  for (size_t at = 0; at < bytes.size() - 256; ++at) {
    std::string flipped = bytes;
    flipped[at] ^= 0x10;
    (void)readSafetensors(folder.write("y", flipped));
  }
}
