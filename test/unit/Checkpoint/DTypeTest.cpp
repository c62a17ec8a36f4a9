// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Conversions between element types, and sizes that overflow.
#include "lib/Checkpoint/Adapter.h"
#include "lib/Checkpoint/Hash.h"
#include "test/unit/TempFolder.h"
#include "test/unit/Tensors.h"
#include <cmath>
#include <gtest/gtest.h>

using namespace adapter::checkpoint;
using namespace adapter::test;

TEST(DType, ConvertsHalfPrecision) {
  EXPECT_EQ(f16ToF32(0x3c00), 1.0f);
  EXPECT_EQ(f16ToF32(0xc000), -2.0f);
  EXPECT_EQ(f16ToF32(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(f16ToF32(0x03ff), std::ldexp(1023.0f, -24));
  EXPECT_EQ(f16ToF32(0x7bff), 65504.0f);
  EXPECT_TRUE(std::signbit(f16ToF32(0x8000)));
  EXPECT_TRUE(std::isinf(f16ToF32(0x7c00)));
  EXPECT_TRUE(std::isnan(f16ToF32(0x7c01)));
  EXPECT_EQ(bf16ToF32(0x3f80), 1.0f);
  EXPECT_EQ(bf16ToF32(0xc040), -3.0f);
}

TEST(DType, ToF32KeepsAlignedMemoryAndCopiesTheRest) {
  Tensor aligned = floats("a", {3}, {1, 2, 3});
  EXPECT_EQ(toF32(aligned)->data, aligned.data);
  Tensor shifted = aligned;
  shifted.data += 4;
  shifted.bytes -= 4;
  shifted.shape = {2};
  Result<Tensor> copy = toF32(shifted);
  ASSERT_TRUE(copy);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(copy->data) % 64, 0u);
  EXPECT_EQ(values<float>(*copy), (std::vector<float>{2, 3}));
  EXPECT_EQ(values<float>(*toF32(tensor<uint16_t>(DType::BF16, "b", {2}, {0x3f80, 0x4000}))),
            (std::vector<float>{1, 2}));
  EXPECT_FALSE(toF32(tensor<int32_t>(DType::I32, "c", {1}, {1})));
}

// Every value that is finite: by the formats' definitions, sign (-1)^s 2^(e - bias) (1 + m / 2^bits).
TEST(DType, WidensFloatsOfEightBits) {
  for (int bits = 0; bits < 256; ++bits) {
    auto value = [&](int mantissaBits, int bias) {
      int exponent = (bits & 0x7f) >> mantissaBits, mantissa = bits & ((1 << mantissaBits) - 1);
      float fraction = static_cast<float>(mantissa) / static_cast<float>(1 << mantissaBits);
      float size = exponent ? std::ldexp(1 + fraction, exponent - bias) : std::ldexp(fraction, 1 - bias);
      return bits & 0x80 ? -size : size;
    };
    Tensor e4m3 = tensor<uint8_t>(DType::F8E4M3FN, "a", {1}, {static_cast<uint8_t>(bits)}),
           e5m2 = tensor<uint8_t>(DType::F8E5M2, "a", {1}, {static_cast<uint8_t>(bits)});
    float narrow = values<float>(*toF32(e4m3))[0], wide = values<float>(*toF32(e5m2))[0];
    EXPECT_EQ(allFinite(e4m3), (bits & 0x7f) != 0x7f);
    EXPECT_EQ(allFinite(e5m2), (bits & 0x7f) < 0x7c);
    EXPECT_EQ(std::isfinite(narrow), allFinite(e4m3));
    EXPECT_EQ(std::isfinite(wide), allFinite(e5m2));
    if (allFinite(e4m3))
      EXPECT_EQ(narrow, value(3, 7)) << bits;
    if (allFinite(e5m2))
      EXPECT_EQ(wide, value(2, 15)) << bits;
  }
  EXPECT_EQ(f8e4m3fnToF32(0x7e), 448.0f);
  EXPECT_EQ(f8e5m2ToF32(0x7b), 57344.0f);
}

TEST(DType, ToI64Widens) {
  EXPECT_EQ(values<int64_t>(*toI64(tensor<int32_t>(DType::I32, "i", {2}, {-1, 7}))),
            (std::vector<int64_t>{-1, 7}));
  EXPECT_FALSE(toI64(floats("f", {1}, {1})));
}

TEST(DType, FindsNaNAndInfinity) {
  EXPECT_TRUE(allFinite(floats("a", {2}, {1, -1e38f})));
  EXPECT_FALSE(allFinite(floats("a", {2}, {1, NAN})));
  EXPECT_FALSE(allFinite(floats("a", {2}, {-INFINITY, 1})));
  EXPECT_FALSE(allFinite(tensor<uint16_t>(DType::F16, "a", {2}, {0, 0x7c00})));
  EXPECT_FALSE(allFinite(tensor<uint16_t>(DType::BF16, "a", {2}, {0, 0xff80})));
}

TEST(DType, SizesDoNotOverflow) {
  EXPECT_EQ(tensorBytes(DType::F32, {2, 3}), 24u);
  EXPECT_EQ(tensorBytes(DType::F32, {}), 4u);
  EXPECT_EQ(tensorBytes(DType::F32, {0, 5}), 0u);
  EXPECT_FALSE(tensorBytes(DType::F32, {int64_t(1) << 62, 4}));
  EXPECT_FALSE(tensorBytes(DType::F32, {int64_t(1) << 62, 4, 0}));
  EXPECT_FALSE(tensorBytes(DType::F32, {-1}));
  EXPECT_FALSE(tensorBytes(DType::I4, {2}));
}

TEST(Hash, IsXXH3Of128Bits) {
  // The value that the xxHash project publishes for the empty input.
  EXPECT_EQ(hashBytes("", 0), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hashParts({"ab", "c"}), hashBytes("abc", 3));
  TempFolder folder;
  EXPECT_EQ(*hashFile(folder.write("f", "abc")), hashBytes("abc", 3));
  EXPECT_FALSE(hashFile(folder / "none"));
}

TEST(Paths, MatchBehindADottedPrefix) {
  EXPECT_TRUE(pathsMatch("model.layers.0.q", "layers.0.q"));
  EXPECT_TRUE(pathsMatch("layers.0.q", "model.layers.0.q"));
  EXPECT_TRUE(pathsMatch("a", "a"));
  EXPECT_FALSE(pathsMatch("model.layers.10.q", "0.q"));
  EXPECT_FALSE(pathsMatch("xq", "q"));
  EXPECT_FALSE(pathsMatch("q", ""));
}

// A flattened module's underscores may be dots or underscores of the graph's path.
TEST(Paths, Flattened) {
  Update update;
  update.module = "down_blocks_0_to_q";
  update.flattened = true;
  EXPECT_TRUE(pathsMatch("down_blocks.0.to_q", update));
  EXPECT_TRUE(pathsMatch("unet.down_blocks.0.to_q", update));
  EXPECT_FALSE(pathsMatch("xdown_blocks.0.to_q", update));
  EXPECT_FALSE(pathsMatch("un_down_blocks.0.to_q", update));
  EXPECT_FALSE(pathsMatch("to_q", update));
  EXPECT_FALSE(pathsMatch("down_blocks.0.to_k", update));
  EXPECT_EQ(spelledFor("x.down_blocks.0.to_q", update), "x_down_blocks_0_to_q");
  update.flattened = false;
  EXPECT_EQ(spelledFor("x.down_blocks.0.to_q", update), "x.down_blocks.0.to_q");
}

TEST(Paths, PartsOfPipelines) {
  EXPECT_TRUE(isInPart("text_encoder_2.layers.0.q", "text_encoder_2"));
  EXPECT_FALSE(isInPart("text_encoder.layers.0.q", "text_encoder_2"));
}
