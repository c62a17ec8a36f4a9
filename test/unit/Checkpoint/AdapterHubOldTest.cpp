// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// AdapterHub's folders as versions before 1.0 wrote them: names of tensors, of configurations, nested dictionaries.
#include "test/unit/Checkpoint/PeftFolder.h"

using namespace adapter::checkpoint;
using namespace adapter::test;

namespace {

class AdapterHubOld : public PeftFolder {
protected:
  AdapterHubOld() {
    config = {{"name", "sst"}, {"type", "text_task"}, {"model_name", "bert"}, {"config", "pfeiffer"}};
    block("bert.encoder.layer.0.output.layer_text_task_adapters.sst.");
  }
  void block(const std::string &prefix) {
    tensors.push_back(counting(prefix + "adapter_down.0.weight", {2, 32}));
    tensors.push_back(counting(prefix + "adapter_down.0.bias", {2}));
    tensors.push_back(counting(prefix + "adapter_up.weight", {32, 2}));
    tensors.push_back(counting(prefix + "adapter_up.bias", {32}));
  }
  std::string error() {
    Result<Adapter> adapter = readHub();
    return adapter ? "no error" : adapter.error().message;
  }
  Result<Adapter> readHub() {
    folder.write("adapter_config.json", config.dump());
    EXPECT_TRUE(writeSafetensors(folder / "adapter.safetensors", tensors));
    return readAdapter(folder.text());
  }
};

} // namespace

TEST_F(AdapterHubOld, NamesOfConfigurations) {
  Result<Adapter> named = readHub();
  ASSERT_TRUE(named) << named.error().message;
  ASSERT_EQ(named->updates.size(), 1u);
  EXPECT_EQ(named->updates[0].module, "bert.encoder.layer.0.output");
  EXPECT_EQ(named->updates[0].rank, 2);
  // The same in full, as version 1 wrote it.
  config["config"] = {{"mh_adapter", false},        {"output_adapter", true},
                      {"non_linearity", "relu"},    {"original_ln_before", true},
                      {"original_ln_after", true},  {"residual_before_ln", true},
                      {"reduction_factor", 16},     {"attention_type", "sent-lvl-dynamic"},
                      {"new_attention_norm", false}};
  Result<Adapter> full = readHub();
  ASSERT_TRUE(full) << full.error().message;
  EXPECT_EQ(full->updates[0].formText(), named->updates[0].formText());
  EXPECT_EQ(full->updates[0].parameter, named->updates[0].parameter);
  config["config"] = "compacter";
  EXPECT_ERROR("field 'config' is 'compacter'");
  config["config"] = "pfeiffer[reduction_factor=8]";
  EXPECT_ERROR("is not the name of a bottleneck");
  config["config"] = 3;
  EXPECT_ERROR("is no object");
}

TEST_F(AdapterHubOld, BothPlaces) {
  config["config"] = "houlsby";
  EXPECT_ERROR("'mh_adapter' is true, but");
  block("bert.encoder.layer.0.attention.output.attention_text_task_adapters.sst.");
  Result<Adapter> adapter = readHub();
  ASSERT_TRUE(adapter) << adapter.error().message;
  ASSERT_EQ(adapter->updates.size(), 2u);
  EXPECT_EQ(adapter->updates[0].module, "bert.encoder.layer.0.attention.output");
  EXPECT_EQ(adapter->updates[0].bottleneck->activation, Activation::Silu);
}

// Files of version 1 name an invertible adapter also where a task's adapter has none.
TEST_F(AdapterHubOld, InvertibleAdapters) {
  config["config"] = {
      {"mh_adapter", false},     {"output_adapter", true},
      {"non_linearity", "relu"}, {"original_ln_before", true},
      {"reduction_factor", 16},  {"invertible_adapter", {{"block_type", "nice"}, {"reduction_factor", 2}}}};
  EXPECT_EQ(error(), "no error");
  config["type"] = "text_lang";
  EXPECT_ERROR("field 'inv_adapter' is not supported");
  config["type"] = "text_task";
  tensors.push_back(counting("invertible_lang_adapters.sst.F.0.weight", {2, 2}));
  EXPECT_ERROR("field 'inv_adapter' is not supported");
  config["config"]["invertible_adapter"] = 7;
  EXPECT_ERROR("field 'config.invertible_adapter'");
}
