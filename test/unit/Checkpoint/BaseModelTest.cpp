// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Checkpoints of base models: files, folders, shards, and where the Hugging Face cache has them.
#include "lib/Checkpoint/BaseModel.h"
#include "lib/Checkpoint/DType.h"
#include "test/unit/TempFolder.h"
#include <cstdlib>
#include <filesystem>
#include <gtest/gtest.h>

using namespace adapter::checkpoint;

namespace {

class BaseModelTest : public ::testing::Test {
protected:
  std::string path(const std::string &name) const { return folder / name; }

  void tensors(const std::string &file, const std::vector<std::string> &keys) {
    std::filesystem::create_directories(std::filesystem::path(path(file)).parent_path());
    std::vector<Tensor> all;
    for (const std::string &key : keys) {
      all.push_back(allocateTensor(DType::F32, {2}));
      all.back().key = key;
    }
    Status status = writeSafetensors(path(file), all);
    ASSERT_TRUE(status) << status.error().message;
  }

  void text(const std::string &file, const std::string &content) { folder.write(file, content); }

  std::string errorOf(const std::string &name) {
    Result<BaseModel> model = BaseModel::open(path(name));
    return model ? "" : model.error().message;
  }

  adapter::test::TempFolder folder;
};

TEST_F(BaseModelTest, OneFile) {
  tensors("m.safetensors", {"a.weight", "b.weight"});
  Result<BaseModel> model = BaseModel::open(path("m.safetensors"));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->tensors().size(), 2u);
  EXPECT_NE(model->find("b.weight"), nullptr);
  EXPECT_EQ(model->find("c.weight"), nullptr);
}

TEST_F(BaseModelTest, ShardsAndOneFileHaveOneDigest) {
  tensors("one/model.safetensors", {"a", "b"});
  tensors("two/model-00001-of-00002.safetensors", {"b"});
  tensors("two/model-00002-of-00002.safetensors", {"a"});
  text("two/model.safetensors.index.json", R"({"weight_map": {"a": "model-00002-of-00002.safetensors",
                                                             "b": "model-00001-of-00002.safetensors"}})");
  Result<BaseModel> one = BaseModel::open(path("one")), two = BaseModel::open(path("two"));
  ASSERT_TRUE(one && two);
  EXPECT_EQ(one->digest(), two->digest());
}

TEST_F(BaseModelTest, OtherFilesOfAFolder) {
  tensors("m/model.safetensors", {"a"});
  tensors("m/consolidated.safetensors", {"theirs"});
  tensors("m/adapter_model.safetensors", {"lora_A"});
  Result<BaseModel> model = BaseModel::open(path("m"));
  ASSERT_TRUE(model) << model.error().message;
  EXPECT_EQ(model->tensors().size(), 1u);
}

TEST_F(BaseModelTest, WhatIsWrongIsNamed) {
  EXPECT_NE(errorOf("nothing").find("does not exist"), std::string::npos);
  text("empty/config.json", "{}");
  EXPECT_NE(errorOf("empty").find("no .safetensors file"), std::string::npos);
  tensors("twice/a.safetensors", {"w"});
  tensors("twice/b.safetensors", {"w"});
  EXPECT_NE(errorOf("twice").find("'w' is in another file"), std::string::npos);
  tensors("lacks/s.safetensors", {"w"});
  text("lacks/model.safetensors.index.json",
       R"({"weight_map": {"w": "s.safetensors", "v": "s.safetensors"}})");
  EXPECT_NE(errorOf("lacks").find("lacks tensor 'v'"), std::string::npos);
  text("leaves/model.safetensors.index.json", R"({"weight_map": {"w": "../lacks/s.safetensors"}})");
  EXPECT_NE(errorOf("leaves").find("no file of the folder"), std::string::npos);
  text("odd/model.safetensors.index.json", "[]");
  EXPECT_NE(errorOf("odd").find("no weight_map"), std::string::npos);
}

TEST_F(BaseModelTest, FoundWhereTheConfigurationSays) {
  tensors("here/model.safetensors", {"a"});
  text("bare/config.json", "{}");
  EXPECT_EQ(findLocalModel(path("here"), ""), path("here"));
  EXPECT_EQ(findLocalModel(path("bare"), ""), std::nullopt);
  EXPECT_EQ(findLocalModel("", ""), std::nullopt);
  std::string snapshot = "hub/models--org--name/snapshots/0123";
  tensors(snapshot + "/model.safetensors", {"a"});
  text("hub/models--org--name/refs/main", "0123\n");
  setenv("HF_HUB_CACHE", path("hub").c_str(), 1);
  EXPECT_EQ(findLocalModel("org/name", ""), path(snapshot));
  EXPECT_EQ(findLocalModel("org/name", "0123"), path(snapshot));
  EXPECT_EQ(findLocalModel("org/name", "other"), std::nullopt);
  EXPECT_EQ(findLocalModel("org/other", ""), std::nullopt);
  EXPECT_EQ(findLocalModel("../hub/models--org--name", ""), std::nullopt);
  unsetenv("HF_HUB_CACHE");
}

} // namespace
