// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Whole weights in an adapter that are the base's: packed, transposed, tables, vectors.
#include "lib/Runtime/BaseContents.h"
#include "lib/Checkpoint/DType.h"
#include <cstring>
#include <gtest/gtest.h>

using namespace adapter;
using namespace adapter::runtime;
using checkpoint::DType;

namespace {

Tensor tensor(std::vector<int64_t> shape, const std::vector<float> &values) {
  Tensor result = checkpoint::allocateTensor(DType::F32, std::move(shape));
  std::memcpy(checkpoint::mutableData(result), values.data(), values.size() * sizeof(float));
  return result;
}

// A weight of 3 inputs and 5 outputs in blocks of 4, and the same as checkpoints have it; what pads it is not 0.
const std::vector<float> packed{11, 21, 31, 41, 12, 22, 32, 42, 13, 23, 33, 43,
                                51, 7,  7,  7,  52, 7,  7,  7,  53, 7,  7,  7};
const std::vector<float> byOutput{11, 12, 13, 21, 22, 23, 31, 32, 33, 41, 42, 43, 51, 52, 53};
const std::vector<float> byInput{11, 21, 31, 41, 51, 12, 22, 32, 42, 52, 13, 23, 33, 43, 53};

struct Model : Artifact {
  Model(artifact::SiteKind kind, Tensor base, int64_t rows, int64_t columns, bool transposed = false) {
    artifact::Site &site = *manifest.add_sites();
    site.set_kind(kind);
    site.set_rows(rows);
    site.set_columns(columns);
    site.set_transposed(transposed);
    parameters.push_back(std::move(base));
    for (const char *form : {"put", "add"})
      manifest.add_forms()->set_name(form);
    manifest.mutable_forms(0)->set_replaces("value");
  }
  bool unchanged(Tensor value, const char *form = "put") const {
    checkpoint::Update update;
    update.form = form;
    update.tensors["value"] = std::move(value);
    auto result = changesNothing(*this, update, {0});
    return result && *result;
  }
};

// Every single number of the value counts.
void expectExactly(const Model &model, const std::vector<int64_t> &shape, const std::vector<float> &values) {
  EXPECT_TRUE(model.unchanged(tensor(shape, values)));
  EXPECT_FALSE(model.unchanged(tensor(shape, values), "add"));
  for (size_t i = 0; i < values.size(); ++i) {
    std::vector<float> other = values;
    other[i] += 0.5f;
    EXPECT_FALSE(model.unchanged(tensor(shape, other))) << i;
  }
}

} // namespace

TEST(BaseContents, PackedWeights) {
  expectExactly({artifact::LINEAR, tensor({2, 3, 4}, packed), 5, 3}, {5, 3}, byOutput);
  expectExactly({artifact::LINEAR, tensor({2, 3, 4}, packed), 5, 3, true}, {3, 5}, byInput);
}

TEST(BaseContents, TablesAndVectors) {
  expectExactly({artifact::EMBEDDING, tensor({5, 3}, byOutput), 5, 3}, {5, 3}, byOutput);
  expectExactly({artifact::VECTOR, tensor({3}, {1, 2, 3}), 3, 0}, {3}, {1, 2, 3});
}

TEST(BaseContents, NarrowValuesCountAsWhatTheyAre) {
  Model model{artifact::VECTOR, tensor({2}, {1.5f, -2}), 2, 0};
  Tensor narrow = checkpoint::allocateTensor(DType::BF16, {2});
  const uint16_t bits[] = {0x3fc0, 0xc000};
  std::memcpy(checkpoint::mutableData(narrow), bits, sizeof bits);
  EXPECT_TRUE(model.unchanged(narrow));
}

TEST(BaseContents, OtherShapesAndSitesWithoutParameter) {
  Model model{artifact::LINEAR, tensor({2, 3, 4}, packed), 5, 3};
  EXPECT_FALSE(model.unchanged(tensor({3, 5}, byInput)));
  EXPECT_FALSE(model.unchanged(tensor({15}, byOutput)));
  EXPECT_FALSE(model.unchanged(tensor({4, 3}, {11, 12, 13, 21, 22, 23, 31, 32, 33, 41, 42, 43})));
  Model part{artifact::LINEAR, tensor({2, 3, 4}, packed), 4, 3}; // the site is a part of what is packed
  EXPECT_FALSE(part.unchanged(tensor({4, 3}, {11, 12, 13, 21, 22, 23, 31, 32, 33, 41, 42, 43})));
  Model none{artifact::VECTOR, tensor({1}, {0}), 1, 0};
  none.manifest.mutable_sites(0)->set_parameter(-1);
  EXPECT_FALSE(none.unchanged(tensor({1}, {0})));
}
