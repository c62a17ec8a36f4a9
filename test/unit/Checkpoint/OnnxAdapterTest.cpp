// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// ONNX Runtime's adapters.
#include "test/unit/Checkpoint/Bytes.h"
#include "test/unit/Checkpoint/SingleFile.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class OnnxAdapters : public SingleFile {
protected:
  const std::string q = "model.layers.0.attn.q_proj";
  Result<Adapter> read() override {
    OnnxAdapterFile file;
    for (const Tensor &tensor : tensors)
      file.parameter(tensor);
    return readBytes("a.onnx_adapter", file.bytes(version));
  }
  int32_t version = 1;
};

} // namespace

TEST_F(OnnxAdapters, NamesOfTheModelBuilderAndOfOlive) {
  tensors = {floats(q + ".lora_A.MatMul.weight", {3, 2}, {1, 2, 3, 4, 5, 6}),
             floats(q + ".lora_B.MatMul.weight", {2, 1}, {7, 8}),
             counting("base_model.model.lm_head.lora_A.weight", {3, 2}),
             counting("base_model.model.lm_head.lora_B.weight", {2, 4})};
  std::vector<Update> all = updates();
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].module, "lm_head");
  EXPECT_EQ(all[1].module, q);
  EXPECT_EQ(all[1].form, "lora");
  EXPECT_EQ(all[1].scale, 1.0);
  EXPECT_EQ(all[1].rank, 2);
  EXPECT_EQ(values<float>(all[1].tensors.at("A")), (std::vector<float>{1, 3, 5, 2, 4, 6}));
  EXPECT_EQ(values<float>(all[1].tensors.at("B")), (std::vector<float>{7, 8}));
}

TEST_F(OnnxAdapters, Refused) {
  EXPECT_TEXT(error(), "holds no tensors");
  tensors = {counting("param_1", {3, 2})};
  EXPECT_TEXT(error(), "parameter 'param_1' has no place");
  tensors = {tensor<uint8_t>(DType::U8, q + ".lora_A.quant.weight", {2, 2}, {})};
  EXPECT_TEXT(error(), "is uint8");
  tensors = {counting(q + ".lora_A.weight", {3, 2})};
  EXPECT_TEXT(error(), "stands without the factor that goes up");
  tensors.push_back(tensors[0]);
  EXPECT_TEXT(error(), "is there twice");
  tensors[1].key = q + ".lora_A.MatMul.weight";
  EXPECT_TEXT(error(), "says the same as");
  tensors[1] = counting(q + ".lora_B.weight", {3, 4});
  EXPECT_TEXT(error(), "does not fit the shape");
  tensors[1] = counting(q + ".lora_B.weight", {2});
  EXPECT_TEXT(error(), "expected a matrix");
  tensors[1].shape = {int64_t(1) << 62, 8};
  EXPECT_TEXT(error(), "does not fill 8 bytes");
  version = 2;
  EXPECT_TEXT(error(), "format version 2");
}

TEST_F(OnnxAdapters, Truncated) {
  OnnxAdapterFile file;
  file.parameter(counting(q + ".lora_A.weight", {3, 2})).parameter(counting(q + ".lora_B.weight", {2, 4}));
  std::string bytes = file.bytes();
  ASSERT_TRUE(readBytes("a.onnx_adapter", bytes));
  for (size_t size = 8; size < bytes.size(); ++size)
    EXPECT_TEXT(errorOf(readBytes("a.onnx_adapter", bytes.substr(0, size))), "a.onnx_adapter");
}
