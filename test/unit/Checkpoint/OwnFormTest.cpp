// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// Folders of forms: of one form, and of several by module.
#include "lib/Checkpoint/OwnForm.h"
#include "test/unit/Checkpoint/PeftFolder.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

const std::string root = "base_model.model.";

class OwnFolder : public PeftFolder {
protected:
  std::map<std::string, OwnDefinition> definitions;

  void SetUp() override {
    definitions["thin"] = {{{"A"}, {"B"}, {"all", true}}, {{"scale", 1.0}, {"eps", std::nullopt}}, "h1", 1};
    definitions["other"] = {{{"value"}, {"inner.A"}}, {{"scale", 1.0}}, "h2", 1};
    config = {{"peft_type", "ADAPTER_OPT_FORM"},
              {"form", "thin"},
              {"scalars", {{"scale", 3.0}, {"eps", 0.5}}},
              {"modules", {{"norm.bias", {{"form", "other"}, {"parameter", "bias"}}}}}};
    tensors = {counting(root + "a.q.A", {2, 4}), counting(root + "a.q.B", {3, 2}),
               counting("base_model.all", {5}), counting(root + "norm.bias.value", {3})};
  }
  Result<Adapter> placed() {
    Result<Adapter> adapter = read();
    if (!adapter)
      return adapter;
    std::map<std::string, OwnDefinition> wanted;
    for (const std::string &form : adapter->own->forms())
      wanted[form] = definitions.at(form);
    if (Status status = placeOwnForm(*adapter, wanted); !status)
      return status.error();
    return adapter;
  }
  void expectProblem(const std::string &part) {
    Result<Adapter> adapter = placed();
    ASSERT_FALSE(adapter) << part;
    EXPECT_NE(adapter.error().message.find(part), std::string::npos) << adapter.error().message;
  }
};

} // namespace

TEST_F(OwnFolder, HoldsModulesOfSeveralForms) {
  Result<Adapter> adapter = placed();
  ASSERT_TRUE(adapter) << adapter.error().message;
  ASSERT_EQ(adapter->updates.size(), 2u);
  const Update &thin = adapter->updates[0], &bias = adapter->updates[1];
  EXPECT_EQ(thin.module + " " + thin.parameter + " " + thin.form, "a.q weight thin");
  EXPECT_EQ(thin.tensors.size(), 3u);
  EXPECT_EQ(thin.scale, 3.0);
  EXPECT_EQ(thin.scalars.at("eps"), 0.5);
  // The folder's numbers and shared tensors are those of its form.
  EXPECT_EQ(bias.module + " " + bias.parameter + " " + bias.form, "norm bias other");
  EXPECT_EQ(bias.tensors.size(), 1u);
  EXPECT_EQ(bias.scale, 1.0);
  EXPECT_TRUE(bias.scalars.empty());
}

TEST_F(OwnFolder, NeedsNoFormOfItsOwn) {
  config.erase("form");
  config.erase("scalars");
  config["modules"]["a.q"] = {{"form", "thin"}, {"scalars", {{"eps", 1.0}}}, {"tied", true}};
  Result<Adapter> adapter = placed();
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_TRUE(adapter->updates[0].tied);
  EXPECT_FALSE(adapter->updates[1].tied);
  // What no module of a form explains.
  tensors.push_back(counting(root + "a.k.A", {2, 4}));
  expectProblem("'base_model.model.a.k.A' has no place: form 'other' has the tensors value, inner.A; form "
                "'thin' has the tensors A, B, all");
  tensors.pop_back();
  config["scalars"] = {{"eps", 1.0}};
  expectProblem("'scalars' is of the folder's form, and there is none");
}

TEST_F(OwnFolder, SplitsKeysByTheFormOfTheModule) {
  // "inner.A" is a role of one form, "inner" a module of the other.
  tensors.push_back(counting(root + "b.inner.A", {2, 4}));
  tensors.push_back(counting(root + "b.inner.B", {2, 4}));
  Result<Adapter> adapter = placed();
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_EQ(adapter->updates[1].module, "b.inner");
  config["modules"]["b"] = {{"form", "other"}};
  tensors.pop_back();
  adapter = placed();
  ASSERT_TRUE(adapter) << adapter.error().message;
  EXPECT_EQ(adapter->updates[1].module, "b");
  EXPECT_TRUE(adapter->updates[1].tensors.count("inner.A"));
}

TEST_F(OwnFolder, InsistsOnHashes) {
  config["form_hash"] = "h1";
  EXPECT_TRUE(placed());
  config["form_hash"] = {{"thin", "h1"}, {"other", "h2"}};
  EXPECT_TRUE(placed());
  config["form_hash"] = {{"other", "h1"}};
  expectProblem("form_hash is 'h1', but the definition of 'other' has the hash 'h2'");
  config["form_hash"] = {{"third", "h1"}};
  expectProblem("names the form 'third', which no module has");
  config["form_hash"] = 3;
  expectProblem("neither a hash nor");
  config["form_hash"] = {{"other", 3}};
  expectProblem("has for 'other' what is not a hash");
}

TEST_F(OwnFolder, RefusesWhatItDoesNotKnow) {
  Json &modules = config["modules"];
  for (const auto &[fields, part] : std::vector<std::pair<Json, const char *>>{
           {{{"form", 3}}, "has for 'norm.bias' a form that is not a name"},
           {{{"form", ""}}, "a form that is not a name"},
           {{{"form", "other"}, {"parameter", "weight"}}, "which is not the last word of that path"},
           {{{"form", "other"}, {"parameter", "norm.bias"}}, "which is not the last word of that path"},
           {{{"form", "other"}, {"tied", 1}}, "a tied that is neither true nor false"},
           {{{"form", "other"}, {"rank", 1}}, "a module has form, parameter, tied, scalars and attributes"},
           {{{"form", "other"}, {"scalars", {{"eps", 1}}}}, "form 'other' has no scalar 'eps'"}}) {
    modules["norm.bias"] = fields;
    expectProblem(part);
  }
  modules["norm.bias"] = {{"form", "other"}};
  modules["nowhere"] = {{"form", "other"}};
  expectProblem("modules has 'nowhere', of which there are no tensors");
  config = {{"peft_type", "ADAPTER_OPT_FORM"}};
  expectProblem("'form' is missing");
}
